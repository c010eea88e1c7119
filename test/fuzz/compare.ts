import { posix } from 'node:path'
import { plainMediaType } from '@countersign/protocol'
import type { Case, Oracle } from './oracle.ts'
import { eventsOf, formatOurs, type HeadReader, maskOurs, readOurs } from './ours.ts'

/** A message that we accept and that another reader reads differently. */
export interface Difference {
  readonly case: Case
  readonly oracle: string
  readonly ours: string
  readonly theirs: string
}

export async function readAllOurs(
  cases: readonly Case[],
  heads: HeadReader,
): Promise<readonly (string | null)[]> {
  return Promise.all(
    cases.map((one) => {
      if (one.kind === 'head') return heads.read(one.body)
      return one.kind === 'events' ? eventsOf(one) : Promise.resolve(readOurs(one))
    }),
  )
}

/**
 * Returns the case that other readers are given: a stream and a media type as we hand them on,
 * anything else as it came.
 */
function handedOn(one: Case): Promise<Case> {
  if (one.kind === 'media') {
    const plain = plainMediaType(Buffer.from(one.body).toString('latin1'))
    return Promise.resolve({ ...one, body: Buffer.from(plain, 'latin1') })
  }
  return one.kind === 'events' ? formatOurs(one) : Promise.resolve(one)
}

/**
 * The first case of `cases` that `oracle` reads differently, as small as it can be made; or null.
 */
export async function findDifference(
  oracle: Oracle,
  cases: readonly Case[],
  heads: HeadReader,
): Promise<Difference | null> {
  const [first] = await differences(oracle, cases, heads)
  return first === undefined ? null : shrink(oracle, first, heads)
}

async function differences(
  oracle: Oracle,
  cases: readonly Case[],
  heads: HeadReader,
): Promise<readonly Difference[]> {
  const ours = await readAllOurs(cases, heads)
  const accepted = cases.flatMap((one, i) => {
    const reading = ours[i] ?? null
    return reading === null ? [] : [{ one, reading }]
  })
  const theirs = await oracle.read(await Promise.all(accepted.map(({ one }) => handedOn(one))))
  return accepted.flatMap(({ one, reading }, i) => {
    const read = theirs[i] ?? null
    if (read === null || agree(one, reading, read)) return []
    return [{ case: one, oracle: oracle.name, ours: reading, theirs: read }]
  })
}

/** Takes pieces out for as long as the readers still differ, from halves down to single bytes. */
async function shrink(oracle: Oracle, from: Difference, heads: HeadReader): Promise<Difference> {
  let smallest = from
  for (let size = Math.ceil(from.case.body.length / 2); size >= 1; ) {
    const { body } = smallest.case
    const candidates = Array.from({ length: Math.ceil(body.length / size) }, (_, i) => ({
      ...smallest.case,
      body: Buffer.concat([body.subarray(0, i * size), body.subarray((i + 1) * size)]),
    }))
    const [smaller] = await differences(oracle, candidates, heads)
    if (smaller !== undefined) smallest = smaller
    else size = size === 1 ? 0 : Math.ceil(size / 2)
  }
  return smallest
}

function agree({ kind }: Case, ours: string, theirs: string): boolean {
  if (kind === 'path') return samePath(ours, theirs)
  if (kind === 'head') return sameHead(ours, theirs)
  return ours === theirs
}

/**
 * Returns whether a path leads to the same place in both readings, and a card for the other reader
 * is also one for us.
 */
function samePath(ours: string, theirs: string): boolean {
  const isCard = ours.startsWith('card ')
  const trimmed = (path: string): string => posix.normalize(path).replace(/(?<=.)\/$/, '')
  const seen = trimmed(theirs)
  if (/\/\.well-known\/agent(?:-card)?\.json$/i.test(seen) && !isCard) return false
  return trimmed(isCard ? ours.slice('card '.length) : ours) === seen
}

type ReadHead = readonly [
  method: string,
  target: string,
  fields: readonly (readonly [string, string])[],
]

/** The line, and each field that we would forward: as often and with the value that we see. */
function sameHead(ours: string, theirs: string): boolean {
  const [method, target, fields] = JSON.parse(ours) as ReadHead
  const [theirMethod, theirTarget, theirFields] = JSON.parse(theirs) as ReadHead
  if (method !== theirMethod || target !== theirTarget) return false
  return fields.every(([name, value]) => {
    const values = theirFields.filter(([theirName]) => theirName === name)
    return values.length === 1 && values[0]?.[1] === value
  })
}

/** For a failing test: the smallest input, so that it can be added to the corpus as it is. */
export function describeDifference(
  { case: one, oracle, ours, theirs }: Difference,
  seed: number,
): string {
  const bytes = Buffer.from(one.body)
  const shown = JSON.stringify({ kind: one.kind, type: one.type, body: bytes.toString('base64') })
  return [
    `${oracle} reads what we accept in another way (FUZZ_SEED=${seed}):`,
    JSON.stringify(bytes.toString('latin1')),
    `ours:   ${ours}`,
    `theirs: ${theirs}`,
    `corpus: ${shown}`,
  ].join('\n')
}

/** The first case in which `oracle` still reads the number that was masked; or null. */
export async function findUnmasked(
  oracle: Oracle,
  cases: readonly Case[],
  number: string,
): Promise<Case | null> {
  const left = cases.flatMap((one) => {
    const body = maskOurs(one)
    return body === null ? [] : [{ ...one, body }]
  })
  const readings = await oracle.read(left)
  const found = readings.findIndex((each) => each !== null && shownBy(each).includes(number))
  return left[found] ?? null
}

/** Returns the characters of a reading, as a reader sees them that drops invisible ones. */
function shownBy(reading: string): string {
  return reading
    .replaceAll(/s((?:[0-9a-f]{2})+)/g, (_, hex: string) => Buffer.from(hex, 'hex').toString())
    .replaceAll(/\p{Cc}/gu, '')
}
