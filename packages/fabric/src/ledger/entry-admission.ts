import { setImmediate } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import {
  equalBytes,
  FormerFormatError,
  type Hash,
  isRefusalCode,
  type MeshEntry,
  mayHaveActed,
  parseSpiffeId,
  ReceiptError,
  type SignedHalf,
  type SpiffeId,
  slotOfExchange,
  type Trust,
  timeOfExchange,
  toHex,
  type VerifySignature,
  verifyEntry,
} from '@countersign/protocol'
import { Refusal } from '../lib/refusal.ts'
import type { AcceptedBatch } from './batch-intake.ts'
import { type Appended, type Claim, type Claimed, recordClaimed } from './claimed-entries.ts'
import { type Connector, ExchangeClaims, isOpening } from './exchange-claims.ts'
import type { Ledger } from './ledger.ts'
import { isUnread, type ReceivedEntry, type StatedEntry } from './stated-entry.ts'

/**
 * An exchange is recorded as it begins: a request may take a minute to arrive, and clocks differ.
 */
const begunWindowMs = 300_000
/**
 * An exchange ends within the longest stream of a connector, which is an hour, and as much again.
 */
const endedWindowMs = 2 * 3_600_000
/**
 * Entries that are looked at, and then verified, before other requests get their turn: each may
 * hold 60 KB of JSON in a string, where the bounds on the body do not count its names, and 4 MiB of
 * them take 0.1 s. Two signatures take 0.2 ms.
 */
const entriesPerTurn = 8

export interface EntryAdmissionOptions {
  /** Of the directory, by name; null for an unknown one. */
  findPrincipal(name: string): KnownPrincipal | null
  /** Reports whether requests for an agent of that name have a receiver. */
  hasReceiver(name: string): boolean
  /**
   * The trust that every verifier of receipts pins, so that entries are judged here as they are
   * there.
   */
  readonly trust: Pick<Trust, 'trustDomain' | 'fabricKey'>
  /** In place: nothing is gained by waiting for a thread, of which the pool has few. */
  readonly verify: VerifySignature
  readonly hash: Hash
  /**
   * Reports whether the caller just signed the request for the connector that recorded it; once for
   * each entry.
   */
  isProvenRequest(request: {
    readonly caller: unknown
    readonly producer: string
    readonly asked: SignedHalf
  }): Promise<boolean>
  /**
   * Returns why the decision that an entry states is not one of this fabric's policies on that
   * request, or null.
   */
  decisionFault(entry: MeshEntry): string | null
  /** Reports whether exactly this exchange of the receiver has used exactly this approval. */
  isApproved(stated: StatedApproval): Promise<boolean>
  readonly ledger: Pick<Ledger, 'slot' | 'explain' | 'openIntent' | 'appendBatch'>
}

/** An approval, as the intent of a connector states it. */
export interface StatedApproval {
  readonly id: string
  readonly digest: string
  readonly approver: string
  readonly caller: string
  readonly exchange: string
  /** SPIFFE ID of the connector's agent, which is the receiver. */
  readonly receiver: string
}

/** A principal as far as an entry can be held to it. */
export interface KnownPrincipal {
  readonly kind: 'agent' | 'user'
  readonly status: string
  readonly keys: { readonly signing: { readonly publicKey: Uint8Array } } | null
}

/** The entries that a connector may record (docs/protocol.md, "Mesh control"). */
export interface EntryAdmission {
  /**
   * Checks every entry before anything is recorded, each by itself: other exchanges wait in the
   * same batch, and must not stay open because of one entry. Holds the exchanges of those that are
   * admitted until `release`. A refusal when none is admitted.
   */
  claim(
    entries: readonly ReceivedEntry[],
    connector: Connector,
    now: number,
  ): Promise<Claim | Refusal>
  /** Records what was claimed; to be called before `release`. */
  record(batch: AcceptedBatch, claimed: Claimed): Promise<Appended>
}

export function createEntryAdmission(options: EntryAdmissionOptions): EntryAdmission {
  const claims = new ExchangeClaims(
    (exchange) => options.ledger.openIntent(exchange)?.producer ?? null,
  )
  return {
    async claim(entries, connector, now) {
      const refusals: Refusal[] = []
      const held: StatedEntry[] = []
      const limits = new Map<ReceivedEntry, string>()
      const refuse = (detail: string): void => {
        refusals.push(new Refusal('NOT_PERMITTED', detail))
      }
      const release = (): void => claims.release(held, connector)
      try {
        // Each is held before its claim is awaited, so that two cannot both find an exchange free.
        for (const [at, entry] of entries.entries()) {
          if (at > 0 && at % entriesPerTurn === 0) await setImmediate()
          if (isUnread(entry)) {
            const isFormer = entry.fault instanceof FormerFormatError
            const code = isFormer ? 'VERSION_UNSUPPORTED' : 'MESSAGE_MALFORMED'
            refusals.push(new Refusal(code, entry.fault.message))
            continue
          }
          const fault = entryFault(options, entry, { connector, now })
          if (fault !== null) {
            refuse(fault)
            continue
          }
          const refusal = claims.hold(entry, connector)
          const limit = refusal?.limit ?? null
          if (refusal === null) held.push(entry)
          else refusals.push(refusal)
          if (limit !== null) limits.set(entry, limit)
        }
        const admitted = new Set<StatedEntry>()
        const recorded = new Map<ReceivedEntry, number>()
        for (const [at, entry] of held.entries()) {
          if (at > 0 && at % entriesPerTurn === 0) await setImmediate()
          const closed = claims.closingFault(entry, connector)
          const index = closed === null ? null : await findRecorded(options, entry)
          if (index !== null) recorded.set(entry, index)
          const fault = closed ?? (await findUnproven(options, entry, connector))
          if (fault === null) admitted.add(entry)
          else if (index === null) refuse(fault)
        }
        // All of this took its time: those whom the entries name can have lost their right by now.
        for (const entry of admitted) {
          const lost = statusFault(options, entry, { connector, now })
          if (lost === null) continue
          admitted.delete(entry)
          refuse(lost)
        }
        const [refusal = null] = refusals
        const isAny = admitted.size + recorded.size > 0
        if (isAny || refusal === null) return { admitted, recorded, limits, refusal, release }
        release()
        return refusal
      } catch (cause) {
        release()
        throw cause
      }
    },
    record: (batch, claimed) => recordClaimed(options.ledger, batch, claimed),
  }
}

interface Recording {
  readonly connector: Connector
  readonly now: number
}

/** The first fault that shows without waiting for anything. */
function entryFault(
  options: EntryAdmissionOptions,
  entry: StatedEntry,
  recording: Recording,
): string | null {
  return (
    slotFault(options, entry) ??
    producerFault(entry, recording) ??
    timeFault(entry, recording) ??
    statusFault(options, entry, recording) ??
    options.decisionFault(entry)
  )
}

/** Checks the current directory status of the principals that an entry names. */
function statusFault(
  options: EntryAdmissionOptions,
  entry: MeshEntry,
  recording: Recording,
): string | null {
  return (
    callerFault(options, entry, recording) ??
    receiverFault(options, entry) ??
    keyFault(options, entry, recording)
  )
}

/** An exchange of another slot is on record in its log; here it would lack its intent. */
function slotFault({ ledger }: EntryAdmissionOptions, { exchange }: MeshEntry): string | null {
  const slot = slotOfExchange(exchange)
  if (slot === ledger.slot) return null
  return `${exchange} belongs to log slot ${slot}, and this process records in ${ledger.slot}`
}

/** The producer that an entry names is the one that states it. */
function producerFault({ facts }: MeshEntry, { connector }: Recording): string | null {
  const { producer } = facts
  return producer === connector.principal
    ? null
    : `${connector.name} does not record for ${String(producer)}`
}

/**
 * The ledger is searched and sorted by the time in an exchange's id, so a connector cannot open an
 * exchange of last month, nor end one that cannot be under way any more.
 */
function timeFault({ kind, exchange, at }: StatedEntry, { now }: Recording): string | null {
  const begun = timeOfExchange(exchange) ?? 0
  const age = now - begun
  if (age < -begunWindowMs) return `${exchange} begins in the future`
  if (isOpening(kind) && age > begunWindowMs) {
    return `${exchange} did not begin within five minutes of now`
  }
  if (age > endedWindowMs) return `${exchange} began more than two hours ago`
  // Its connector made it in between, by a clock that differs.
  const isWithin = at >= begun - begunWindowMs && at <= now + begunWindowMs
  return isWithin ? null : `the entry is of another time than ${exchange}`
}

/**
 * A connector proves its callers by their certificates, and only principals of the directory have
 * one. Without this check it could record a caller that does not exist, or the fabric, and so
 * obtain a receipt about it.
 */
function callerFault(
  options: EntryAdmissionOptions,
  { kind, facts }: MeshEntry,
  { connector }: Recording,
): string | null {
  const caller = facts['caller']
  if (caller === undefined) return null
  const known = findPrincipal(options, caller, connector)
  if (known === null) return `${String(caller)} is not a principal of this fabric`
  // A permitted exchange is re-evaluated here: the connector's copy of the directory may be stale.
  return kind === 'intent' && known.status !== 'active'
    ? `${String(caller)} is ${known.status}`
    : null
}

/**
 * A connector may be asked for a receiver that does not exist, and records that it refused. Nothing
 * was sent there: no answer of it, nor an act, goes on record.
 */
function receiverFault(options: EntryAdmissionOptions, { kind, facts }: MeshEntry): string | null {
  const { receiver, result, code } = facts
  if (kind !== 'refusal' || typeof receiver !== 'string') return null
  const isActed = result !== undefined || (isRefusalCode(code) && mayHaveActed(code))
  if (!isActed) return null
  const known = options.findPrincipal(receiver)
  // A user is known by such a name, too, and receives nothing.
  const isKnown = known === null ? options.hasReceiver(receiver) : known.kind === 'agent'
  return isKnown ? null : `no agent is named ${receiver}, so that nothing was sent to it`
}

/**
 * The directory is the authority on the owners of keys: a connector could name any agent over a key
 * that it made up.
 */
function keyFault(
  options: EntryAdmissionOptions,
  { facts }: MeshEntry,
  { connector }: Recording,
): string | null {
  for (const half of ['request', 'response'] as const) {
    const key = facts[`${half}.key`]
    if (!(key instanceof Uint8Array)) continue
    const owner = half === 'request' ? facts['caller'] : connector.principal
    const enrolled = findPrincipal(options, owner, connector)?.keys?.signing.publicKey
    if (enrolled === undefined || !equalBytes(key, enrolled)) {
      return `${half}.key is not the key of ${String(owner)}`
    }
  }
  return null
}

/**
 * The principal of exactly that SPIFFE ID. Instances are excluded: the directory does not know
 * them, and an ID that differs from the principal's own would name a party that cannot read the
 * entries about it.
 */
function findPrincipal(options: EntryAdmissionOptions, spiffeId: unknown, connector: Connector) {
  const id = idOf(spiffeId)
  if (id === null || id.instance !== null) return null
  if (id.trustDomain !== idOf(connector.principal)?.trustDomain) return null
  const known = options.findPrincipal(id.name)
  return known?.kind === id.kind ? known : null
}

function idOf(spiffeId: unknown): SpiffeId | null {
  return typeof spiffeId === 'string' ? parseSpiffeId(spiffeId) : null
}

/**
 * The index of this very entry, where the same connector recorded it before and the answer was
 * lost. An entry that differs in any fact is another one, and its exchange is closed.
 */
async function findRecorded(
  { ledger }: EntryAdmissionOptions,
  entry: StatedEntry,
): Promise<number | null> {
  const closing = (await ledger.explain(entry.exchange)).at(-1)
  if (closing?.kind !== entry.kind) return null
  return isDeepStrictEqual({ ...closing.facts }, { ...entry.facts }) ? closing.index : null
}

function faultOf(cause: unknown): string {
  if (!(cause instanceof ReceiptError)) throw cause
  return `${cause.message}${cause.detail === '' ? '' : ` (${cause.detail})`}`
}

async function findUnproven(
  { ledger, isProvenRequest, isApproved, trust, verify, hash }: EntryAdmissionOptions,
  entry: MeshEntry,
  connector: Connector,
): Promise<string | null> {
  const { kind, exchange, facts } = entry
  const requestSignature = isOpening(kind)
    ? null
    : (ledger.openIntent(exchange)?.requestSignature ?? null)
  const recorded = { kind, facts, withheld: [] }
  const context = { exchange, ...trust, requestSignature, verify, hash }
  const attested = await verifyEntry(recorded, context).catch(faultOf)
  if (typeof attested === 'string') {
    return `no verifier would accept the entry of ${exchange}: ${attested}`
  }
  // A connector that could add an entry to an exchange on record would become one of its two ends,
  // and could then read its receipt.
  if (isOpening(kind) && (await ledger.explain(exchange)).length > 0) {
    return `${exchange} is on record already`
  }
  const unapproved = await findUnapproved({ isApproved }, entry, connector)
  if (unapproved !== null) return unapproved
  if (facts['attested.request'] !== 'caller') return null
  const { caller } = facts
  const { asked } = attested
  const producer = connector.principal
  const isProven = asked !== null && (await isProvenRequest({ caller, producer, asked }))
  return isProven ? null : `${String(caller)} did not just sign the request of ${exchange}`
}

/** A connector could state an approval that another exchange, or another receiver, has used. */
async function findUnapproved(
  { isApproved }: Pick<EntryAdmissionOptions, 'isApproved'>,
  { kind, exchange, facts }: MeshEntry,
  { principal: receiver }: Connector,
): Promise<string | null> {
  if (kind !== 'intent' || facts['approval.id'] === undefined) return null
  const { 'approval.id': id, 'approval.approver': approver, 'approval.digest': digest } = facts
  if (!(digest instanceof Uint8Array)) return 'an approval is stated without its digest'
  const stated = { id: String(id), approver: String(approver), digest: toHex(digest) }
  const caller = String(facts['caller'])
  const isGood = await isApproved({ ...stated, caller, exchange, receiver })
  return isGood ? null : `${stated.id} is not an approval that ${exchange} has used`
}
