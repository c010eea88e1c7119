import { createExchangeId } from '@countersign/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import { createLedgerKeys, openLossyLedger } from '../../../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../../../tools/crash/lossy-matrix.ts'
import { systemRandom } from '../lib/random.ts'
import type { EntryKind, FactValue, Ledger } from './ledger.ts'
import type { LineQuery, Term, TermTable } from './ledger-reads.ts'
import { termPath } from './term-index.ts'
import { TermKeys } from './term-keys.ts'
import {
  BlockTimes,
  encodeTermSegment,
  pagesOf,
  parseTermDirectory,
  positionsIn,
  TermRows,
} from './term-segment.ts'

const keys = createLedgerKeys()
/** Small segments, and nothing in memory that a file has. */
const limits = { segmentEntries: 16, termSegmentEntries: 64, windowBytesMax: 1, publishEntries: 1 }

const draft = (kind: EntryKind, exchange: string, facts: Record<string, FactValue> = { n: 1 }) => ({
  ...{ kind, exchange, at: 1_700_000_000_000, facts },
})

const callers = ['spiffe://a.test/agent/a', 'spiffe://a.test/agent/b', 'spiffe://a.test/user/c']
const receivers = ['x', 'y']
const results = ['delivered', 'completed', 'unknown']

interface Made {
  readonly exchange: string
  readonly terms: Readonly<Partial<Record<TermTable, string>>>
}

/** Exchanges of every combination, some of them overlapping, refused or by administration. */
async function fill(ledger: Ledger, count: number): Promise<readonly Made[]> {
  const made: Made[] = []
  for (let n = 0; n < count; n++) {
    const [exchange, other] = [newExchange(), newExchange()]
    const caller = callers[n % 3] ?? ''
    const receiver = receivers[n % 2] ?? ''
    const result = results[n % 3] ?? ''
    const asked = { caller, receiver, operation: `op-${n % 5}`, tool: n % 4 === 0 ? 'pay' : '' }
    await ledger.append(draft('intent', exchange, asked))
    if (n % 3 === 0) {
      const code = 'NOT_PERMITTED'
      await ledger.append(draft('refusal', other, { ...asked, code, 'caller.user': 'u' }))
      const { tool, ...terms } = asked
      const tooled = tool === '' ? terms : asked
      made.push({ exchange: other, terms: { ...tooled, code, result: 'refused', user: 'u' } })
    }
    if (n % 7 === 0) {
      const event = 'enrolled'
      await ledger.append(draft('lifecycle', `${other}-own`, { event, agent: caller }))
      made.push({ exchange: `${other}-own`, terms: { operation: event, caller } })
    }
    const kind = result === 'unknown' ? 'indeterminate' : 'outcome'
    await ledger.append(draft(kind, exchange, { result }))
    const { tool, ...terms } = asked
    made.push({ exchange, terms: { ...(tool === '' ? terms : asked), result } })
  }
  return made.toReversed()
}

/** Every exchange that is found, over all pages. */
async function find(ledger: Ledger, query: Omit<LineQuery, 'countMax'>, countMax = 1_000) {
  const found: string[] = []
  for (let before: number | null = ledger.size; before !== null; ) {
    const page = await ledger.list({ ...query, countMax, before })
    found.push(...page.lines.map(({ exchange }) => exchange))
    before = page.older
  }
  return found
}

const termOf = (table: TermTable, ...values: string[]): Term => ({ table, values })

const queries: readonly (readonly Term[])[] = [
  ...callers.map((caller) => [termOf('caller', caller)]),
  [termOf('caller', ...callers.slice(0, 2))],
  ...receivers.map((receiver) => [termOf('receiver', receiver)]),
  ...results.map((result) => [termOf('result', result), termOf('receiver', 'x')]),
  [termOf('tool', 'pay'), termOf('caller', callers[0] ?? ''), termOf('result', 'delivered')],
  [termOf('code', 'NOT_PERMITTED'), termOf('user', 'u')],
  [termOf('operation', 'enrolled')],
  [termOf('operation', 'op-1'), termOf('operation', 'op-2')],
  [termOf('caller', 'x')],
]

const meets = (terms: readonly Term[]) => (made: Made) =>
  terms.every(({ table, values }) => values.includes(made.terms[table] ?? ''))

async function expectFound(ledger: Ledger, made: readonly Made[]): Promise<void> {
  for (const terms of queries) {
    const expected = made.filter(meets(terms)).map(({ exchange }) => exchange)
    expect(await find(ledger, { terms })).toEqual(expected)
    expect(await find(ledger, { terms }, 3)).toEqual(expected)
  }
}

const newExchangeAt = (at: number) => createExchangeId('a', at, systemRandom(10))

test('exchanges are found by every term, in memory, in files, and across starts', async () => {
  const disk = new LossyDisk()
  const first = await openLossyLedger(disk, keys, { limits })
  const made = await fill(first, 100)
  await expectFound(first, made)
  await first.close()
  const second = await openLossyLedger(disk, keys, { limits })
  await expectFound(second, made)
  // The tail of the first start goes on in the second one.
  const more = [...(await fill(second, 20)), ...made]
  await expectFound(second, more)
  await second.close()
  const third = await openLossyLedger(disk, keys, { limits })
  await expectFound(third, more)
  await third.close()
})

test('an exchange under way is found as open, and by its ending from then on', async () => {
  const ledger = await openLossyLedger(new LossyDisk(), keys, { limits })
  const exchange = newExchange()
  const terms = [termOf('caller', 'a'), termOf('receiver', 'x')]
  await ledger.append(draft('intent', exchange, { caller: 'a', receiver: 'x' }))
  expect(await find(ledger, { terms })).toEqual([exchange])
  expect(await find(ledger, { terms: [...terms, termOf('result', 'open')] })).toEqual([exchange])
  expect(await find(ledger, { terms: [termOf('result', 'delivered')] })).toEqual([])
  await ledger.append(draft('outcome', exchange, { result: 'delivered' }))
  expect(await find(ledger, { terms: [...terms, termOf('result', 'open')] })).toEqual([])
  expect(await find(ledger, { terms: [...terms, termOf('result', 'delivered')] })).toEqual([
    exchange,
  ])
  await ledger.close()
})

test('what a start closes is found by the intent of the process before', async () => {
  const disk = new LossyDisk()
  const first = await openLossyLedger(disk, keys, { limits })
  const exchange = newExchange()
  await first.append(draft('intent', exchange, { caller: 'a', receiver: 'x' }))
  await fill(first, 60)
  await first.close()
  const ledger = await openLossyLedger(disk, keys, { limits })
  const terms = [termOf('caller', 'a'), termOf('result', 'unknown')]
  const { lines } = await ledger.list({ countMax: 5, terms })
  expect(lines.map((line) => [line.exchange, line.entries.length])).toEqual([[exchange, 2]])
  await ledger.close()
})

test('a lost, torn or damaged file is made again from the entries, with the same bytes', async () => {
  const disk = new LossyDisk()
  const first = await openLossyLedger(disk, keys, { limits })
  const made = await fill(first, 100)
  await first.close()
  const path = `/ledger/log/${termPath(1)}`
  // The first readers make the file, and the next ones find it.
  const second = await openLossyLedger(disk, keys, { limits })
  await expectFound(second, made)
  await second.close()
  const whole = disk.readWhole(path)
  const flip = (at: number) => Buffer.from(whole.with(at, (whole[at] ?? 0) ^ 1))
  // Magic, checksummed directory, a row, the sum of a page, and its padding.
  const damages = [flip(0), flip(20), flip(whole.length - 4_000), flip(whole.length - 1)]
  for (const bytes of [...damages, flip(whole.length - 100), whole.subarray(0, 50), null]) {
    if (bytes === null) await disk.remove(path)
    else disk.overwrite(path, bytes)
    const ledger = await openLossyLedger(disk, keys, { limits })
    await expectFound(ledger, made)
    expect(disk.readWhole(path)).toEqual(whole)
    await ledger.close()
  }
})

test('an entry that cannot be read does not add rows with each search for it', async () => {
  const disk = new LossyDisk()
  const own = { ...limits, termSegmentEntries: 512 }
  const first = await openLossyLedger(disk, keys, { limits: own })
  await fill(first, 170)
  await first.close()
  // A bundle of the segment that the first start had in memory.
  const details = '/ledger/log/detail/000'
  const whole = disk.readWhole(details)
  disk.overwrite(details, Buffer.from(whole.with(-1, (whole.at(-1) ?? 0) ^ 1)))
  const second = await openLossyLedger(disk, keys, { limits: own })
  const terms = [termOf('code', 'RARE')]
  for (let n = 0; n < 5; n++) await expect(find(second, { terms })).rejects.toThrow()
  disk.overwrite(details, whole)
  await fill(second, 60)
  expect(await find(second, { terms })).toEqual([])
  await second.close()
  const path = `/ledger/log/${termPath(0)}`
  const stored = disk.readWhole(path)
  await disk.remove(path)
  const third = await openLossyLedger(disk, keys, { limits: own })
  expect(await find(third, { terms })).toEqual([])
  await third.close()
  expect(stored).toEqual(disk.readWhole(path))
})

test('an orderly stop leaves a file of each whole segment, which the next start reads', async () => {
  const disk = new LossyDisk()
  const own = { ...limits, publishEntries: 1_000_000, publishDelayMs: 3_600_000 }
  const first = await openLossyLedger(disk, keys, { limits: own })
  const made = await fill(first, 60)
  await first.close()
  const stored = disk.paths().filter((path) => path.includes('index/terms/'))
  expect(stored).toEqual([0, 1].map((segment) => `/ledger/log/${termPath(segment)}`))
  const second = await openLossyLedger(disk, keys, { limits })
  await expectFound(second, made)
  await second.close()
})

test('exchanges are found by the time at which they began', async () => {
  const ledger = await openLossyLedger(new LossyDisk(), keys, { limits })
  const times = Array.from({ length: 200 }, (_, n) => 1_700_000_000_000 + n * 1_000)
  const exchanges = times.map((at) => newExchangeAt(at))
  for (const exchange of exchanges) {
    await ledger.append(draft('refusal', exchange, { code: 'X', caller: 'a' }))
  }
  const since = times[50] ?? 0
  const until = times[59] ?? 0
  const expected = exchanges.slice(50, 60).toReversed()
  expect(await find(ledger, { since, until })).toEqual(expected)
  const terms = [termOf('caller', 'a')]
  expect(await find(ledger, { since, until, terms })).toEqual(expected)
  // The id of the genesis has no time; its entry does, which is now.
  const last = [exchanges.at(-1), 'genesis']
  expect(await find(ledger, { since: times.at(-1) ?? 0 })).toEqual(last)
  expect(await find(ledger, { until: (times[0] ?? 0) - 1 })).toEqual([])
  await ledger.close()
})

test('values of every length are found, also those that differ in their last character', async () => {
  const ledger = await openLossyLedger(new LossyDisk(), keys, { limits })
  const lengths = [1, 2, 31, 255, 256, 257, 4_096, 60_000]
  const byTool = new Map<string, string>()
  for (const length of lengths) {
    for (const last of ['a', 'é', '\u{1f600}']) {
      const tool = 'x'.repeat(length - 1) + last
      const exchange = newExchange()
      await ledger.append(draft('refusal', exchange, { code: 'X', tool }))
      byTool.set(tool, exchange)
    }
  }
  for (const [tool, exchange] of byTool) {
    expect(await find(ledger, { terms: [termOf('tool', tool)] })).toEqual([exchange])
  }
  expect(await find(ledger, { terms: [termOf('tool', '')] })).toEqual([])
  await ledger.close()
})

test('two values with one key are told apart by their entries', async () => {
  const { indexKey, searchKeys } = TermKeys.prototype
  // Every value has the same key: the worst that an attacker could bring about.
  TermKeys.prototype.indexKey = () => 5
  TermKeys.prototype.searchKeys = () => [5]
  try {
    const ledger = await openLossyLedger(new LossyDisk(), keys, { limits })
    await expectFound(ledger, await fill(ledger, 40))
    await ledger.close()
  } finally {
    Object.assign(TermKeys.prototype, { indexKey, searchKeys })
  }
})

test('one call looks into a bounded number of segments, and the cursor goes on', async () => {
  const few = { ...limits, readSegmentsMax: 2 }
  const ledger = await openLossyLedger(new LossyDisk(), keys, { limits: few })
  const rare = newExchange()
  await ledger.append(draft('refusal', rare, { code: 'RARE' }))
  await fill(ledger, 150)
  const terms = [termOf('code', 'RARE')]
  const page = await ledger.list({ countMax: 5, terms })
  expect(page.lines).toEqual([])
  expect(page.older).toBe((Math.floor((ledger.size - 1) / 64) - 1) * 64)
  expect(await find(ledger, { terms })).toEqual([rare])
  await ledger.close()
})

test('the rows of a subject are hashed under its own key, and found by each that it has', () => {
  const secret = new Uint8Array(32).fill(1)
  const [first, second] = [2, 3].map((byte) => ({ key: new Uint8Array(32).fill(byte) }))
  const held = { x: [first, second].flatMap((each) => each ?? []) }
  let change: () => void = () => undefined
  const keys = new TermKeys(secret, 'a', {
    findAll: (value) => (value === 'x' ? held.x : []),
    onChange(listener) {
      change = listener
    },
  })
  const plain = new TermKeys(secret, 'a')
  for (const table of ['caller', 'user', 'receiver'] as const) {
    expect(keys.indexKey(table, 'x')).not.toBe(plain.indexKey(table, 'x'))
    expect(keys.searchKeys(table, 'x')).toContain(keys.indexKey(table, 'x'))
    expect(keys.searchKeys(table, 'x')).toHaveLength(3)
    expect(keys.indexKey(table, 'y')).toBe(plain.indexKey(table, 'y'))
  }
  expect(keys.indexKey('tool', 'x')).toBe(plain.indexKey('tool', 'x'))
  const before = keys.indexKey('caller', 'x')
  held.x = []
  change()
  expect(keys.searchKeys('caller', 'x')).toEqual([plain.indexKey('caller', 'x')])
  expect(keys.searchKeys('caller', 'x')).not.toContain(before)
})

test('the key of a value depends on its table, the log and the secret of the slot', () => {
  const secret = new Uint8Array(32).fill(1)
  const own = new TermKeys(secret, 'a')
  const all = [
    own.indexKey('caller', 'x'),
    own.indexKey('receiver', 'x'),
    own.indexKey('caller', 'y'),
    new TermKeys(secret, 'b').indexKey('caller', 'x'),
    new TermKeys(secret.with(0, 2), 'a').indexKey('caller', 'x'),
  ]
  expect(new Set(all).size).toBe(5)
  expect(all.every((key) => Number.isSafeInteger(key) && key >= 0 && key < 2 ** 48)).toBe(true)
  const before = own.indexKey('tool', 'kept')
  // More values than are remembered: the keys stay what they were.
  for (let n = 0; n < 17_000; n++) own.indexKey('tool', String(n))
  expect(own.indexKey('tool', 'kept')).toBe(before)
})

const sum = (place: number, bytes: Uint8Array): number =>
  new TermKeys(keys.detailKey, 'a').sum(0, { lastLeaf: new Uint8Array(32), place, bytes })

test('a segment gives back the rows of every key, however they are spread over pages', async () => {
  const row = fc.tuple(
    fc.constantFrom(0, 1, 65_535, 65_536, 2 ** 32, 2 ** 47 + 3, 2 ** 48 - 1),
    fc.nat(65_535),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(row, { maxLength: 3_000, size: 'max' }), async (drawn) => {
      const rows = new TermRows()
      const times = new BlockTimes(65_536)
      for (const [key, position] of drawn) rows.add(key, position)
      const bytes = await encodeTermSegment(65_536, { rows, times }, sum)
      const directory = parseTermDirectory(bytes, 65_536, sum)
      if (directory === null) throw new Error('no directory')
      for (const key of [0, 1, 2, 65_535, 65_536, 2 ** 32, 2 ** 47 + 3, 2 ** 48 - 1]) {
        const [from, end] = pagesOf(directory, key)
        const pages = bytes.subarray(directory.start + from * 4_096, directory.start + end * 4_096)
        const expected = drawn.filter(([each]) => each === key).map(([, position]) => position)
        expected.sort((a, b) => a - b)
        expect(positionsIn({ first: from, bytes: pages }, key, sum)).toEqual(expected)
        expect(rows.positionsOf(key)).toEqual(expected)
      }
      expect(parseTermDirectory(bytes, 65_535, sum)).toBeNull()
    }),
    { numRuns: 30 },
  )
})
