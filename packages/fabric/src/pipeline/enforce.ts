import type { ExchangeId } from '@countersign/protocol'
import type { Caller } from '../identity/caller.ts'
import { Refusal, undecided, type Withdrawal } from '../lib/refusal.ts'
import { type ApproveDeps, approve } from './approve.ts'
import { type AuthenticateDeps, type Authenticated, authenticate } from './authenticate.ts'
import { authorize } from './authorize.ts'
import { type Answered, type DeliverDeps, deliver } from './deliver.ts'
import { type Forwarder, type LocalReceiver, type StillPermitted, Undelivered } from './delivery.ts'
import { undeliveredEnding, withheldEnding } from './ending.ts'
import type { Exchange } from './exchange.ts'
import { inspect } from './inspect.ts'
import {
  type Intended,
  type Refused,
  recordIntent,
  recordLateWithdrawal,
  recordOutcome,
  recordRefusal,
  unrecorded,
} from './record.ts'
import { type InspectedEvents, inspectedEvents, type StreamDeps } from './stream.ts'
import type { UncheckedRequest } from './unchecked-request.ts'

/** Everything the stages ask for; `compose.ts` is the only place that gathers it. */
export type PipelineDeps = AuthenticateDeps & ApproveDeps & DeliverDeps & StreamDeps

/** The result that the transport encodes, and the exchange that it is recorded under. */
export type Outcome = Ended & { readonly exchange: ExchangeId }

/** An answer, whole or as inspected events, or a recorded refusal. */
type Ended =
  | { readonly refusal: Refusal }
  | {
      readonly refusal: null
      readonly answer: Answered
      readonly body: Uint8Array | InspectedEvents
      /** To be asked while a whole answer is on its way to a caller that takes it slowly. */
      readonly still: StillPermitted
    }

/**
 * The one way across: authenticate, authorize, inspect, approve, record the intent, deliver, record
 * the outcome. Nothing is delivered before its intent is durable, and nothing is answered before
 * the outcome is. Rejects only when the ledger cannot record and the receiver has done nothing.
 * Once it may have acted, an outcome that cannot be recorded is the refusal `OUTCOME_UNKNOWN`.
 *
 * A receiver with conditions of its own checks the request before the intent: an intent
 * states a request whose checks have all passed.
 */
export async function enforce(
  deps: PipelineDeps,
  unchecked: UncheckedRequest,
  receiver: Forwarder | LocalReceiver,
): Promise<Outcome> {
  const authenticated = await authenticate(unchecked, deps).catch(undecided)
  if (authenticated instanceof Refusal) return refuse(deps, unchecked, authenticated)

  const { fault } = unchecked
  const admitted = fault ?? (await admit(deps, authenticated, receiver).catch(undecided))
  if (admitted instanceof Refusal) {
    return refuse(deps, authenticated, admitted, authenticated.caller)
  }
  const { intended, forwarder } = admitted

  const answer = await deliver(intended, forwarder, deps)
  const ended = await conclude(deps, intended, answer)
  return { ...ended, exchange: authenticated.id }
}

interface Admitted {
  readonly intended: Exchange<Intended>
  readonly forwarder: Forwarder
}

async function admit(
  deps: PipelineDeps,
  authenticated: Exchange<Authenticated>,
  receiver: Forwarder | LocalReceiver,
): Promise<Admitted | Refusal> {
  const authorized = await authorize(authenticated, deps.authorization)
  if (authorized instanceof Refusal) return authorized

  const inspected = await inspect(authorized, deps)
  if (inspected instanceof Refusal) return inspected

  const forwarder = typeof receiver === 'function' ? receiver : await receiver.check(inspected)
  if (forwarder instanceof Refusal) return forwarder

  const approved = await approve(inspected, deps)
  if (approved instanceof Refusal) return approved

  const intended = await recordIntent(approved, deps)
  return intended instanceof Refusal ? intended : { intended, forwarder }
}

async function refuse(
  deps: PipelineDeps,
  exchange: Refused,
  refusal: Refusal,
  caller: Caller | null = null,
): Promise<Outcome> {
  const recording = recordRefusal(exchange, refusal, caller, deps)
  // A refusal that states that the ledger is full, and at which limit, does not need a record.
  const isBusy = refusal.code === 'LEDGER_UNAVAILABLE'
  await (isBusy ? recording.catch(() => undefined) : recording)
  return { refusal, exchange: exchange.id }
}

async function conclude(
  deps: PipelineDeps,
  exchange: Exchange<Intended>,
  answer: Answered | Undelivered,
): Promise<Ended> {
  if (answer instanceof Undelivered) return concludeUndelivered(deps, exchange, answer)
  const first = answer.handOver(deps.authorization)
  if (first instanceof Refusal) return withhold(deps, exchange, { answer, refusal: first })
  if (!(first instanceof Uint8Array)) {
    const events = inspectedEvents(exchange, answer, first, deps)
    return { refusal: null, answer, body: events, still: () => null }
  }
  const { facts, findings } = answer
  const ending = { end: 'delivered', facts, findings, bytes: answer.receivedBytes } as const
  const fault = await recordOutcome(exchange, ending, deps).then(recorded, unrecorded)
  if (fault !== null) {
    await answer.withhold().catch(() => undefined)
    return { refusal: fault }
  }
  // The disk took its time: what the caller gets is decided after it, not before.
  const body = answer.handOver(deps.authorization)
  if (body instanceof Refusal) {
    await withdrawLate(deps, exchange, { answer, refusal: body, how: 'withheld' })
    return { refusal: body }
  }
  return { refusal: null, answer, body: first, still: stillOf(deps, exchange, answer) }
}

/** The outcome is on record, and the caller does not get the answer, or no more of it. */
async function withdrawLate(
  deps: PipelineDeps,
  exchange: Exchange<Intended>,
  { answer, ...late }: { readonly answer: Answered } & Parameters<typeof recordLateWithdrawal>[1],
): Promise<void> {
  await answer.withhold().catch(() => undefined)
  await recordLateWithdrawal(exchange, late, deps).catch(() => undefined)
}

/** Asks for the right to an answer again; the first no is the last, and goes on record. */
function stillOf(
  deps: PipelineDeps,
  exchange: Exchange<Intended>,
  answer: Answered,
): StillPermitted {
  let lost: Withdrawal | null = null
  return () => {
    if (lost !== null) return lost
    const handed = answer.handOver(deps.authorization)
    if (!(handed instanceof Refusal)) return null
    lost = handed
    void withdrawLate(deps, exchange, { answer, refusal: lost, how: 'cut' })
    return lost
  }
}

/**
 * The receiver acted, and its response is not handed over. Neither fact may be reported as anything
 * else.
 */
async function withhold(
  deps: PipelineDeps,
  exchange: Exchange<Intended>,
  { answer, refusal }: { readonly answer: Answered; readonly refusal: Withdrawal },
): Promise<Ended> {
  await answer.withhold().catch(() => undefined)
  const end = withheldEnding(refusal)
  const { facts, findings, receivedBytes: bytes } = answer
  const ending = { end, facts, findings, bytes }
  const fault = await recordOutcome(exchange, ending, deps).then(recorded, unrecorded)
  return { refusal: fault ?? end.refusal }
}

async function concludeUndelivered(
  deps: PipelineDeps,
  exchange: Exchange<Intended>,
  undelivered: Undelivered,
): Promise<Ended> {
  const end = undeliveredEnding(undelivered)
  const { refusal } = end
  try {
    const declined = 'declined' in undelivered.failure ? { declined: refusal.code } : {}
    await recordOutcome(exchange, { end, facts: {}, findings: [], bytes: 0, ...declined }, deps)
  } catch (cause) {
    // Nothing was delivered, so this is as when the intent could not be recorded.
    if (!refusal.mayHaveActed) throw cause
    return { refusal: unrecorded(cause) }
  }
  return { refusal }
}

const recorded = (): null => null
