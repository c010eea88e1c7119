import { equalBytes } from '../encoding/bytes.ts'
import { type ExchangeId, slotOfExchange } from '../encoding/ids.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import {
  commitmentInput,
  type EntryKind,
  encodeFact,
  type FactValue,
  factBytesMax,
  type Leaf,
  parseLeaf,
} from '../log/leaf.ts'
import { hashLeaf, parseTlogProof, type TlogProof, verifyInclusion } from '../log/merkle.ts'
import { type Checkpoint, parseCheckpoint, parseNote, verifyNote } from '../log/note.ts'
import { type Ending, endingOf } from '../log/receipt-ending.ts'
import { sha256 } from '../signatures/web-crypto.ts'
import {
  type Attestation,
  type Attestations,
  readTextFact,
  verifyEntry,
} from './receipt-attestation.ts'
import { checkClaims } from './receipt-claims.ts'
import {
  parseReceipt,
  type Receipt,
  type ReceiptEntry,
  type ReceiptLevel,
} from './receipt-document.ts'
import { ReceiptError, type ReceiptFault } from './receipt-error.ts'
import { type VerifiedStatement, verifyStated } from './receipt-statement.ts'
import { isCertifiedLog, type SlotTrust, type Trust } from './trust.ts'

/** One entry of a receipt that verified. */
export interface VerifiedEntry {
  readonly kind: EntryKind
  /** Unix milliseconds, as the fabric stated. */
  readonly at: number
  readonly index: number
  /**
   * SPIFFE ID of the agent on whose connector's word it was recorded; null for the fabric's own.
   */
  readonly producer: string | null
  /** The batch in which the producer stated it, by its own key; null for the fabric's own. */
  readonly stated: VerifiedStatement | null
  /** The facts that were opened, each found to be what was committed to. */
  readonly facts: Readonly<Record<string, FactValue>>
  /** Names of facts that the entry commits to and the receipt does not open. */
  readonly withheld: readonly string[]
}

/** The facts that a receipt proves. Undisclosed facts are null. */
export interface VerifiedReceipt {
  readonly exchange: ExchangeId
  readonly origin: string
  readonly trustDomain: string
  readonly entries: readonly VerifiedEntry[]
  readonly kinds: readonly EntryKind[]
  /** Unix milliseconds of the first entry, and of the one that closed the exchange. */
  readonly at: number
  readonly closedAt: number
  readonly caller: string | null
  /** On whose behalf the caller acted, as a token of its issuer proved it; null for itself. */
  readonly user: string | null
  readonly receiver: string | null
  readonly operation: string | null
  /** Subject (person or thing) and reason of an administrative operation; null for every other. */
  readonly object: string | null
  readonly reason: string | null
  /**
   * The approval that the exchange used, or was refused for; `approver` is null in the latter case.
   * Null for an exchange that needed none.
   */
  readonly approval: { readonly id: string; readonly approver: string | null } | null
  /** The result of the outcome, or the code of the refusal. */
  readonly result: string | null
  readonly ending: Ending
  /**
   * `connection` where the response has no end of its own, so that a part of it may be missing;
   * null for every other.
   */
  readonly responseEnd: 'connection' | null
  /**
   * Bytes of the request left, and the receiver alone states that it processed none of them (RFC
   * 9113, section 8.7).
   */
  readonly isStatedUnsent: boolean
  readonly request: Attestation
  readonly response: Attestation
  readonly checkpointSize: number
  /** As the receipt states it: no signature covers it, so that its holder can change it. */
  readonly level: ReceiptLevel
  readonly factsOpened: number
  readonly factsWithheld: number
}

/** The trust, narrowed to the log that the receipt is of. */
type PinnedTrust = Trust & SlotTrust

interface ReadEntry {
  readonly entry: ReceiptEntry
  readonly leaf: Leaf
  readonly proof: TlogProof
}

/**
 * Verifies a receipt offline against pinned keys, in this order: its form; that it is of a log of
 * the trusted fabric; that its entries make one closed exchange; that each is in the log; that
 * every disclosed fact is what was committed to; the signature of the log; that every fact that
 * decides the receipt's meaning is disclosed; that connectors stated their entries; the signatures
 * of caller and callee. Throws a ReceiptError on the first failure; a changed bit anywhere is one,
 * except in `level` and in the lines of witnesses.
 */
export async function verifyReceipt(bytes: Uint8Array, trusted: Trust): Promise<VerifiedReceipt> {
  const receipt = parseReceipt(bytes)
  const trust = { ...trusted, ...(await findLog(receipt, trusted)) }
  const read = receipt.entries.map(readEntry)
  const [first, last] = [read[0], read.at(-1)]
  if (first === undefined || last === undefined) throw new ReceiptError('KINDS_DISORDERED')
  checkExchange(receipt, read)
  const checkpoint = readCheckpoint(read, trust)
  for (const one of read) await checkIncluded(one, checkpoint)
  for (const one of read) await checkFacts(one)
  await checkSignature(read, trust)
  checkClaims(read.map(claimedEntry), trust.trustDomain)
  const entries: VerifiedEntry[] = []
  for (const one of read) {
    const claimed = claimedEntry(one)
    const stated = await verifyStated(one.entry, { ...trust, producer: claimed.producer })
    entries.push({ ...claimed, stated })
  }
  const opening = openedFacts(first)
  const closing = first === last ? opening : openedFacts(last)
  const ending = endingOf(last.leaf.kind, closing)
  if (ending === null) throw new ReceiptError('KINDS_DISORDERED')
  const attestations = await attestationsOf(entries, receipt.exchange, trust)
  return {
    exchange: receipt.exchange,
    origin: receipt.origin,
    trustDomain: trust.trustDomain,
    entries,
    kinds: entries.map(({ kind }) => kind),
    at: first.leaf.at,
    closedAt: last.leaf.at,
    caller: readTextFact(opening, 'caller'),
    user: readTextFact(opening, 'caller.user'),
    receiver: readTextFact(opening, 'receiver'),
    operation: readTextFact(opening, 'operation'),
    object: readTextFact(opening, 'object'),
    reason: readTextFact(opening, 'reason'),
    approval: approvalIn(opening),
    result: readTextFact(closing, 'result') ?? readTextFact(closing, 'code'),
    ending,
    isStatedUnsent: closing['stated.by'] === 'receiver',
    responseEnd: closing['response.end'] === 'connection' ? 'connection' : null,
    request: attestations.request,
    response: attestations.response,
    checkpointSize: checkpoint.size,
    level: receipt.level,
    factsOpened: entries.reduce((sum, { facts }) => sum + Object.keys(facts).length, 0),
    factsWithheld: entries.reduce((sum, { withheld }) => sum + withheld.length, 0),
  }
}

function approvalIn(opening: Readonly<Record<string, FactValue>>): VerifiedReceipt['approval'] {
  const id = readTextFact(opening, 'approval.id')
  return id === null ? null : { id, approver: readTextFact(opening, 'approval.approver') }
}

/**
 * Every entry by itself; what closes an exchange is judged by what the caller signed at its start.
 */
async function attestationsOf(
  entries: readonly VerifiedEntry[],
  exchange: ExchangeId,
  { trustDomain, fabricKey }: PinnedTrust,
): Promise<Attestations> {
  let requestSignature: Uint8Array | null = null
  let found: Attestations | null = null
  for (const entry of entries) {
    const each = await verifyEntry(entry, { exchange, trustDomain, fabricKey, requestSignature })
    requestSignature = each.requestSignature
    found = { request: (found ?? each).request, response: each.response }
  }
  if (found === null) throw new ReceiptError('KINDS_DISORDERED')
  return found
}

/** The log of the receipt, which must be one that `slotKey` certifies. */
async function findLog({ exchange, origin }: Receipt, trust: Trust): Promise<SlotTrust> {
  const log = trust.slots.find((each) => each.origin === origin)
  if (log === undefined) throw new ReceiptError('ORIGIN_UNTRUSTED', origin)
  if (!(await isCertifiedLog(trust, log))) {
    throw new ReceiptError('ORIGIN_UNTRUSTED', `${origin} is not certified by the fabric`)
  }
  if (log.slot !== slotOfExchange(exchange)) {
    throw new ReceiptError('EXCHANGE_MISMATCHED', `${origin} is the log of slot ${log.slot}`)
  }
  return log
}

/** Runs a parser; what it finds malformed becomes `code`. */
function reading<T>(code: ReceiptFault, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error
    throw new ReceiptError(code, error.message)
  }
}

function readEntry(entry: ReceiptEntry): ReadEntry {
  const leaf = reading('LEAF_MALFORMED', () => parseLeaf(entry.leaf))
  const proof = reading('PROOF_MALFORMED', () => parseTlogProof(entry.proof))
  return { entry, leaf, proof }
}

const closingKinds: readonly EntryKind[] = ['outcome', 'refusal', 'indeterminate']

function checkExchange(receipt: Receipt, read: readonly ReadEntry[]): void {
  if (read.some(({ leaf }) => leaf.exchange !== receipt.exchange)) {
    throw new ReceiptError('EXCHANGE_MISMATCHED')
  }
  const [first, second] = read
  const kind = first?.leaf.kind
  if (second === undefined) {
    if (kind !== 'refusal')
      throw new ReceiptError(
        'KINDS_DISORDERED',
        'the exchange is still open, or its end was left out',
      )
    return
  }
  if (kind !== 'intent' || !closingKinds.includes(second.leaf.kind)) {
    throw new ReceiptError('KINDS_DISORDERED', 'an intent is closed by one outcome')
  }
  if ((first?.proof.index ?? 0) >= second.proof.index) {
    throw new ReceiptError('KINDS_DISORDERED', 'the outcome was recorded before the intent')
  }
}

function readCheckpoint(read: readonly ReadEntry[], trust: PinnedTrust): Checkpoint {
  const [text = ''] = read.map(({ proof }) => proof.checkpoint)
  if (read.some(({ proof }) => proof.checkpoint !== text)) {
    throw new ReceiptError('CHECKPOINTS_DIFFERENT')
  }
  const note = reading('PROOF_MALFORMED', () => parseNote(text))
  const checkpoint = reading('PROOF_MALFORMED', () => parseCheckpoint(note.text))
  if (checkpoint.origin !== trust.origin) {
    throw new ReceiptError('ORIGIN_UNTRUSTED', checkpoint.origin)
  }
  // Lines of witnesses follow; no key of theirs is pinned, so that they prove nothing here.
  const [own, ...others] = note.signatures
  if (own?.name !== trust.origin || others.some(({ name }) => name === trust.origin)) {
    throw new ReceiptError(
      'CHECKPOINT_REJECTED',
      'the first line, and no other, is that of the log',
    )
  }
  return checkpoint
}

async function checkIncluded(one: ReadEntry, checkpoint: Checkpoint): Promise<void> {
  const leafHash = await hashLeaf(one.entry.leaf)
  const { index, path } = one.proof
  const { size, root } = checkpoint
  if (!(await verifyInclusion({ leafHash, index, size, root, path }))) {
    throw new ReceiptError('INCLUSION_REJECTED', `at ${index} of ${size}`)
  }
}

async function checkFacts({ entry, leaf }: ReadEntry): Promise<void> {
  for (const [name, { salt, value }] of Object.entries(entry.facts)) {
    const commitment = leaf.facts.get(name)
    if (commitment === undefined) throw new ReceiptError('FACT_UNKNOWN', name)
    const fact = encodeFact(name, value)
    // One longer than any that is committed to could only cost the verifier time.
    const isCommitted =
      fact.length <= factBytesMax &&
      equalBytes(await sha256(commitmentInput(salt, fact)), commitment)
    if (!isCommitted) throw new ReceiptError('FACT_REJECTED', name)
  }
}

/** The one signature of the log covers every entry of the receipt, by its path to the root. */
async function checkSignature([first]: readonly ReadEntry[], trust: PinnedTrust): Promise<void> {
  const note = first?.proof.checkpoint ?? ''
  if (!(await verifyNote(note, trust.vkey))) throw new ReceiptError('CHECKPOINT_REJECTED')
}

function openedFacts({ entry }: ReadEntry): Readonly<Record<string, FactValue>> {
  return Object.fromEntries(Object.entries(entry.facts).map(([name, { value }]) => [name, value]))
}

function claimedEntry(one: ReadEntry): Omit<VerifiedEntry, 'stated'> {
  const { entry, leaf, proof } = one
  return {
    kind: leaf.kind,
    at: leaf.at,
    index: proof.index,
    producer: readTextFact(openedFacts(one), 'producer'),
    facts: openedFacts(one),
    withheld: [...leaf.facts.keys()].filter((name) => !Object.hasOwn(entry.facts, name)),
  }
}
