import { parseSpiffeId, type SpiffeId } from '../encoding/ids.ts'
import { endingFault } from '../log/ending-fault.ts'
import { missingFact } from '../log/fact-bounds.ts'
import type { EntryKind, FactValue } from '../log/leaf.ts'
import { EXCHANGE_RESULTS, type ExchangeResult, REFUSAL_RESULTS } from '../log/receipt-ending.ts'
import { ReceiptError } from './receipt-error.ts'

/** Every value of `attested.request` and `attested.response`. */
export const ATTESTORS = {
  request: ['caller', 'fabric', 'connector'],
  response: ['callee', 'fabric', 'connector'],
} as const
export type Attestor = (typeof ATTESTORS)['request' | 'response'][number]

/**
 * The facts that a receipt may withhold without saying something else: how the caller proved its
 * identity, by which policies, which classes of data were masked, and how much was sent. Digests
 * may be withheld as well; the content is then withheld, and every view shows it so. Everything
 * else decides who did what, and a receipt that commits to it without opening it is refused
 * (docs/protocol.md, "Disclosure").
 */
const withholdable: ReadonlySet<string> = new Set([
  'caller.credential',
  'caller.method',
  'masked',
  'policy.rules',
  'policy.version',
  'request.bytes',
  'request.masked',
  'response.bytes',
  'response.masked',
])

/** The facts by which a message is compared with what was recorded of it. */
export const CONTENT_FACTS = {
  request: [
    ...(['request.digest', 'request.forwarded-digest'] as const),
    ...(['request.transcript', 'request.forwarded-transcript', 'request.frames'] as const),
  ],
  response: ['response.digest', 'response.forwarded-digest', 'transcript', 'events'],
} as const

const contentFacts: ReadonlySet<string> = new Set([
  ...CONTENT_FACTS.request,
  ...CONTENT_FACTS.response,
])

export function isWithholdable(name: string): boolean {
  return name.startsWith('private.') || withholdable.has(name) || contentFacts.has(name)
}

const closingResults: Partial<Record<EntryKind, readonly ExchangeResult[]>> = {
  outcome: EXCHANGE_RESULTS,
  refusal: REFUSAL_RESULTS,
  indeterminate: ['unknown'],
}
const refusalCode = /^[A-Z][A-Z_]{2,63}$/

/** One entry with the facts that a receipt opens. */
export interface ClaimedEntry {
  readonly kind: EntryKind
  readonly facts: Readonly<Record<string, FactValue>>
  readonly withheld: readonly string[]
}

/**
 * Throws a ReceiptError unless the entry discloses every fact that decides its meaning, has values
 * out of the closed sets, and attests as the party that recorded it.
 */
export function checkEntryClaims(entry: ClaimedEntry, trustDomain: string): void {
  const hidden = entry.withheld.find((name) => !isWithholdable(name))
  if (hidden !== undefined) throw new ReceiptError('FACT_WITHHELD', hidden)
  checkNeeded(entry)
  checkValues(entry)
  const producer = producerOf(entry, trustDomain)
  if (entry.kind === 'intent' || entry.kind === 'refusal') checkParty(entry, producer)
}

/**
 * As `checkEntryClaims` for every entry; they have to agree on who recorded the exchange as well.
 */
export function checkClaims(entries: readonly ClaimedEntry[], trustDomain: string): void {
  for (const entry of entries) checkEntryClaims(entry, trustDomain)
  const [opening] = entries
  const closing = entries.at(-1)
  if (opening === undefined || closing === undefined) return
  const producers = entries.map((entry) => producerOf(entry, trustDomain))
  const isClosedByFabric = closing.kind === 'indeterminate' && producers.at(-1) === null
  if (opening !== closing && !isClosedByFabric && producers[0] !== producers[1]) {
    throw new ReceiptError('PRODUCER_CONTRADICTED', 'two producers recorded one exchange')
  }
}

function checkNeeded({ kind, facts }: ClaimedEntry): void {
  const missing = missingFact(kind, facts)
  if (missing !== null) throw new ReceiptError('FACT_MISSING', missing)
}

const textFacts = [
  ...['transport', 'protocol', 'operation', 'caller', 'caller.user', 'receiver', 'code'],
  ...['object', 'reason'],
]

function checkValues({ kind, facts, withheld }: ClaimedEntry): void {
  for (const name of textFacts) {
    readText(facts, name)
  }
  const results: readonly unknown[] | undefined = closingResults[kind]
  const result = readText(facts, 'result')
  if (result !== null && results?.includes(result) !== true) {
    throw new ReceiptError('VALUE_UNKNOWN', 'result')
  }
  const code = readText(facts, 'code')
  if (code !== null && !refusalCode.test(code)) throw new ReceiptError('VALUE_UNKNOWN', 'code')
  const fault = endingFault(kind, facts, [...Object.keys(facts), ...withheld])
  if (fault !== null) throw new ReceiptError('VALUE_UNKNOWN', fault)
  const stated = readText(facts, 'stated.by')
  if (stated !== null && (stated !== 'receiver' || result !== 'refused')) {
    throw new ReceiptError('VALUE_UNKNOWN', 'stated.by')
  }
  const end = readText(facts, 'response.end')
  if (end !== null && end !== 'connection') throw new ReceiptError('VALUE_UNKNOWN', 'response.end')
  for (const half of ['request', 'response'] as const) {
    const by = readText(facts, `attested.${half}`)
    if (by !== null && !ATTESTORS[half].some((known) => known === by)) {
      throw new ReceiptError('VALUE_UNKNOWN', `attested.${half}`)
    }
  }
}

/**
 * The SPIFFE ID of the connector that recorded an entry; null for the fabric itself. A connector
 * never attests as the fabric, nor the fabric as a connector.
 */
function producerOf({ facts }: ClaimedEntry, trustDomain: string): string | null {
  const producer = readText(facts, 'producer')
  const isMesh = facts['transport'] === 'mesh'
  const contradicted = (detail: string) => new ReceiptError('PRODUCER_CONTRADICTED', detail)
  const attested = [facts['attested.request'], facts['attested.response']]
  if (producer === null) {
    if (isMesh) throw contradicted('an entry of the mesh names no connector')
    if (attested.includes('connector')) throw contradicted('no connector recorded it')
    return null
  }
  const id = parseSpiffeId(producer)
  if (id === null || id.kind === 'fabric' || id.trustDomain !== trustDomain) {
    throw new ReceiptError('VALUE_UNKNOWN', 'producer')
  }
  if (!isMesh) throw contradicted('a connector records what crosses the mesh')
  if (attested.includes('fabric')) throw contradicted('the fabric did not record it')
  return producer
}

/**
 * A connector records what its agent receives, and what it refused its agent; nothing of others.
 */
function checkParty({ kind, facts }: ClaimedEntry, producer: string | null): void {
  if (producer === null) return
  const id = parseSpiffeId(producer)
  const isReceiver = id !== null && facts['receiver'] === id.name
  const isOwnRefusal = kind === 'refusal' && sameAgent(facts['caller'], id)
  if (!isReceiver && !isOwnRefusal) {
    throw new ReceiptError('PRODUCER_CONTRADICTED', 'its agent is neither receiver nor caller')
  }
}

function sameAgent(caller: FactValue | undefined, id: SpiffeId | null): boolean {
  const named = typeof caller === 'string' ? parseSpiffeId(caller) : null
  return (
    named !== null &&
    id !== null &&
    named.trustDomain === id.trustDomain &&
    named.kind === id.kind &&
    named.name === id.name
  )
}

/** The text of a fact, or null when it was not disclosed. Throws a ReceiptError on another type. */
function readText(facts: ClaimedEntry['facts'], name: string): string | null {
  const value = facts[name]
  if (value === undefined) return null
  if (typeof value !== 'string') throw new ReceiptError('FACT_MISTYPED', name)
  return value
}
