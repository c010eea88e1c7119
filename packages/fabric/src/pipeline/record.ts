import {
  createExchangeId,
  type ExchangeResult,
  endingFault,
  ReceiptError,
  readSignedHalf,
  slotOfExchange,
} from '@countersign/protocol'
import type { UsedApproval } from '../approvals/approvals.ts'
import type { Caller } from '../identity/caller.ts'
import type { MessageSignatures } from '../identity/message-signatures.ts'
import type { Committed, EntryDraft, EntryPurpose, FactValue } from '../ledger/ledger.ts'
import { refusalOfBusy, refusalOfFailure } from '../ledger/refusals.ts'
import { LedgerBusy } from '../ledger/unavailable.ts'
import { systemRandom } from '../lib/random.ts'
import { Refusal, Withdrawal } from '../lib/refusal.ts'
import { sha256 } from '../lib/sha256.ts'
import type { Finding } from '../redaction/redactor.ts'
import type { Approved } from './approve.ts'
import type { Authenticated } from './authenticate.ts'
import { PolicyRefusal } from './authorize.ts'
import { type IntendedEnding, loneEnding, type RefusedEnding, writable } from './ending.ts'
import { type Exchange, extend } from './exchange.ts'
import type { Inspected } from './inspect.ts'
import { foundFacts, maskedSummary } from './masked-summary.ts'
import type { Message, Target, Transport, UncheckedRequest } from './unchecked-request.ts'

/** The ledger and the keys that the stage uses. */
export interface RecordDeps {
  /** Resolves once the entry would survive a power loss; rejects when it cannot promise that. */
  append(draft: EntryDraft): Promise<Committed>
  readonly signatures: Pick<MessageSignatures, 'findPublicKey'>
  readonly trustDomain: string
  now(): number
}

const intended: unique symbol = Symbol('intended')

/** Made in this file only. */
interface Intent {
  readonly [intended]: true
  readonly intent: Committed
}

/** Known once the intent is durable. Nothing else can be delivered. */
export type Intended = Approved & Intent

export { LedgerBusy, refusalOfFailure }

export async function recordIntent(
  exchange: Exchange<Approved>,
  deps: RecordDeps,
): Promise<Exchange<Intended> | Refusal> {
  const facts = { ...intentFacts(exchange, deps), ...approvalFacts(exchange.approval) }
  const fault = requestFault(facts, exchange, deps)
  if (fault !== null) return fault
  const { id, at, target } = exchange
  const purpose = target.protocol === 'admin' ? purposeOf(target.action) : null
  const draft = { kind: 'intent', exchange: id, at, facts } as const
  try {
    const intent = await deps.append(purpose === null ? draft : { ...draft, purpose })
    return extend(exchange, { [intended]: true as const, intent })
  } catch (cause) {
    if (cause instanceof LedgerBusy) return refusalOfBusy(cause)
    throw cause
  }
}

function approvalFacts(approval: UsedApproval | null): Readonly<Record<string, FactValue>> {
  if (approval === null) return {}
  const { id, approver, digest } = approval
  const bytes = Buffer.from(digest, 'hex')
  return { 'approval.id': id, 'approval.approver': approver, 'approval.digest': bytes }
}

/** An operator goes on while the disk fills up: it has to see who does that, and to stop them. */
function purposeOf(action: Target['action']): EntryPurpose | null {
  if (action === 'administer') return 'administration'
  return action === 'read' ? 'oversight' : null
}

/** Runs every verifier's checks of a signed request before anything is delivered. */
function requestFault(
  facts: EntryDraft['facts'],
  { signature, signed }: Exchange<Authenticated>,
  { trustDomain }: Pick<RecordDeps, 'trustDomain'>,
): Refusal | null {
  if (!signed || signature === null) return null
  const fault = verifierFault(() =>
    readSignedHalf(facts, 'request', { trustDomain, made: signature.signed }),
  )
  return fault === null ? null : new Refusal('SIGNATURE_REJECTED', fault)
}

/** Returns the reason why every verifier would reject what `check` reads; null if none would. */
export function verifierFault(check: () => unknown): string | null {
  try {
    check()
    return null
  } catch (cause) {
    if (!(cause instanceof ReceiptError)) throw cause
    return `no receipt would verify: ${cause.message} (${cause.detail})`
  }
}

/** The receiver acted, and no entry records it: the caller must not take this for a failure. */
export function unrecorded(cause: unknown): Refusal {
  return new Refusal('OUTCOME_UNKNOWN', `the outcome could not be recorded: ${String(cause)}`)
}

/**
 * Returns the refusal to send if `refusal` could not be recorded; an agent in quarantine, for
 * example, can no longer record.
 */
export function unrecordedAs(refusal: Refusal, cause: unknown): Refusal {
  // A refusal that itself states that the ledger is full also names the limit.
  if (refusal.code === 'LEDGER_UNAVAILABLE') return refusal
  if (!refusal.mayHaveActed) return refusalOfFailure(cause)
  return refusal instanceof Withdrawal ? refusal : unrecorded(cause)
}

/** The members of an exchange that its refusal records, whatever stage it has reached. */
export type Refused = Pick<UncheckedRequest, 'id' | 'at' | 'transport' | 'target' | 'received'>

/** Recorded before the caller receives it, so that every probe leaves a record. */
export function recordRefusal(
  exchange: Refused,
  refusal: Refusal,
  caller: Caller | null,
  deps: RecordDeps,
): Promise<void> {
  return appendRefusal(exchange, loneEnding(refusal), caller, deps)
}

/** Records the end of a stream that was recorded elsewhere and passed on to this side. */
export function recordStreamEnd(
  exchange: Refused,
  ending: IntendedEnding,
  caller: Caller,
  deps: RecordDeps,
): Promise<void> {
  return appendRefusal(exchange, ending, caller, deps)
}

async function appendRefusal(
  exchange: Refused,
  { refusal, facts: ended }: RefusedEnding,
  caller: Caller | null,
  deps: RecordDeps,
): Promise<void> {
  const { id, at, target, transport, received } = exchange
  const asked = refusal instanceof PolicyRefusal ? refusal.made : null
  await appendEnding(deps, {
    kind: 'refusal',
    exchange: id,
    at,
    facts: {
      ...ended,
      transport,
      protocol: target.protocol,
      operation: writable(target.operation),
      tool: writable(target.tool),
      receiver: target.name,
      ...target.about,
      'request.digest': digestOf(received),
      ...ofDetection(exchange, refusal),
      ...referredApproval(refusal),
      ...(caller === null
        ? knownCaller(refusal)
        : { caller: caller.principal, 'caller.method': caller.method, ...userFact(caller) }),
      ...(asked === null
        ? {}
        : {
            'policy.version': asked.policyVersion,
            'policy.rules': asked.decision.policies.join(' '),
            'private.request': JSON.stringify(asked.question),
          }),
    },
  })
}

/** Facts of a refusal that detection counts. */
function ofDetection(
  { transport, received }: Pick<Refused, 'transport' | 'received'>,
  { byOthers }: Refusal,
): Readonly<Record<string, FactValue>> {
  return {
    // A connector states no size of a request that did not leave.
    ...(transport === 'mesh' ? {} : { 'request.bytes': received.body.length }),
    ...(byOthers ? { 'private.by-others': true } : {}),
  }
}

/** The user on whose behalf the caller acts. A receipt does not verify without it. */
function userFact({ onBehalfOf }: Caller): Readonly<Record<string, FactValue>> {
  return onBehalfOf === undefined ? {} : { 'caller.user': onBehalfOf.user }
}

/** The first frame of a stream may be gone. */
function digestOf({ body, frames }: Message): Uint8Array {
  return frames === undefined ? sha256(body) : frames.firstDigest
}

function referredApproval({ approval }: Refusal): Readonly<Record<string, FactValue>> {
  // A receiver's own statement does not become a fact.
  if (approval === null || approval.digest === null) return {}
  return { 'approval.id': approval.id, 'approval.digest': Buffer.from(approval.digest, 'hex') }
}

function knownCaller({ caller }: Refusal): { caller?: string } {
  return caller === null ? {} : { caller }
}

/** The results of exchanges that no refusal ended. */
type UnrefusedResult = Extract<
  ExchangeResult,
  'delivered' | 'completed' | 'abandoned' | 'unobserved'
>

/** The ending of an exchange, once it was intended. */
export interface Ending {
  readonly end: IntendedEnding | UnrefusedResult
  readonly facts: Readonly<Record<string, FactValue>>
  /** Of the response. */
  readonly findings: readonly Finding[]
  /** Number of bytes that the receiver sent. */
  readonly bytes: number
}

export async function recordOutcome(
  exchange: Exchange<Intended>,
  ending: Ending,
  deps: RecordDeps,
): Promise<void> {
  // However the exchange ends, nothing more of its request is read or forwarded.
  const sent = exchange.upload?.finish() ?? null
  const { end } = ending
  const ended = typeof end === 'string' ? { result: end } : end.facts
  await appendEnding(deps, {
    kind: ended['result'] === 'unknown' ? 'indeterminate' : 'outcome',
    exchange: exchange.id,
    at: deps.now(),
    facts: {
      ...(ending.bytes === 0 ? {} : { 'response.bytes': ending.bytes }),
      ...sent?.facts,
      ...ending.facts,
      ...foundFacts(exchange.transport, {
        'private.found': sent?.findings ?? [],
        'private.response-found': ending.findings,
      }),
      ...ended,
    },
  })
}

/**
 * Holds what is written here to the rule by which entries of connectors are taken: an entry that
 * contradicts it would ruin the receipt. Such an exchange is recorded as one of unknown outcome
 * instead, and the caller receives the same.
 */
async function appendEnding(deps: RecordDeps, draft: EntryDraft): Promise<void> {
  const fault = endingFault(draft.kind, draft.facts)
  if (fault === null) {
    await deps.append(draft)
    return
  }
  const detail = `an ending contradicts itself: ${fault}`
  await deps.append(ofUnknownOutcome(draft, detail))
  throw new TypeError(detail)
}

function ofUnknownOutcome({ kind, facts, ...draft }: EntryDraft, detail: string): EntryDraft {
  const ending = { result: 'unknown', code: 'OUTCOME_UNKNOWN', 'private.detail': detail } as const
  if (kind !== 'refusal') return { ...draft, kind: 'indeterminate', facts: ending }
  const asked = Object.entries(facts).filter(([name]) => name !== 'progress')
  return { ...draft, kind, facts: { ...Object.fromEntries(asked), ...ending } }
}

/**
 * The right to a response ended while its outcome became durable (`withheld`), or while its caller
 * took it (`cut`). That exchange is closed, so the withdrawal is an entry of its own, which names
 * it.
 */
export async function recordLateWithdrawal(
  exchange: Exchange<Intended>,
  { refusal, how }: { readonly refusal: Refusal; readonly how: 'withheld' | 'cut' },
  deps: RecordDeps,
): Promise<void> {
  const { id: closed, caller, transport, target, received } = exchange
  const at = deps.now()
  // In the log of the exchange that it names.
  const slot = slotOfExchange(closed) ?? ''
  const id = createExchangeId(slot, at, systemRandom(10))
  const detail = `the response of ${closed} was ${how}: ${refusal.detail}`
  const late = new Refusal(refusal.code, detail)
  await recordRefusal({ id, at, transport, target, received }, late, caller, deps)
}

function intentFacts(exchange: Exchange<Inspected>, deps: RecordDeps): Record<string, FactValue> {
  const { caller, signed, target, transport, received, signature, forwardable } = exchange
  const isUnchanged = forwardable.body === received.body
  const digest = isUnchanged ? forwardable.digest : digestOf(received)
  const facts: Record<string, FactValue> = {
    transport,
    protocol: target.protocol,
    operation: target.operation,
    tool: target.tool,
    caller: caller.principal,
    'caller.method': caller.method,
    ...userFact(caller),
    'caller.credential': caller.credentialId,
    receiver: target.name,
    ...target.about,
    'policy.version': exchange.policyVersion,
    'policy.rules': exchange.decision.policies.join(' '),
    'request.digest': digest,
    'request.bytes': received.body.length,
    'request.forwarded-digest': forwardable.digest,
    // Both digests are of the first frame then.
    ...(received.frames === undefined ? {} : { 'request.streamed': received.frames.codec.name }),
    masked: maskedSummary(exchange.findings),
    ...foundFacts(transport, { 'private.found': exchange.findings }),
    'attested.request': signed ? 'caller' : attestorOf(transport),
    'private.request': JSON.stringify(exchange.question),
  }
  if (signature !== null && signed) {
    facts['request.signature'] = signature.signed.signature
    facts['request.signature-base'] = signature.signed.base
    const key = deps.signatures.findPublicKey(signature.signed.keyId)
    if (key !== null) facts['request.key'] = key
  }
  return facts
}

/**
 * Returns who vouches for a half that its party did not sign. Connectors record the mesh, and they
 * never attest as the fabric.
 */
export function attestorOf(transport: Transport): 'fabric' | 'connector' {
  return transport === 'mesh' ? 'connector' : 'fabric'
}
