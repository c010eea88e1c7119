import type { Caller } from '../identity/caller.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Arrival } from './arrival.ts'
import { type Authenticated, type AuthenticateRoom, authenticate } from './authenticate.ts'
import { authorize } from './authorize.ts'
import { type Answered, type DeliverRoom, deliver } from './deliver.ts'
import type { Courier } from './delivery.ts'
import { inspect } from './inspect.ts'
import {
  type Intended,
  recordIntent,
  recordLateWithdrawal,
  recordOutcome,
  recordRefusal,
  writable,
} from './record.ts'
import { type InspectedEvents, inspectedEvents, type StreamRoom } from './stream.ts'

/** Everything the stages ask for; `compose.ts` is the only place that gathers it. */
export type Rooms = AuthenticateRoom & DeliverRoom & StreamRoom

/** What the transport encodes: an answer, whole or as inspected events, or a recorded refusal. */
export type Outcome =
  | { readonly refusal: Refusal }
  | {
      readonly refusal: null
      readonly answer: Answered
      readonly body: Uint8Array | InspectedEvents
    }

/**
 * The one way across: authenticate, authorize, inspect, record the intent, deliver, record the
 * outcome. Nothing is delivered before its intent is durable, and nothing is answered before the
 * outcome is. Rejects only when the ledger cannot record: then the caller hears nothing but that.
 */
export async function enforce(rooms: Rooms, arrival: Arrival, courier: Courier): Promise<Outcome> {
  const authenticated = await authenticate(arrival, rooms).catch(undecided)
  if (authenticated instanceof Refusal) return refuse(rooms, arrival, authenticated)

  const intended = await admit(rooms, authenticated).catch(undecided)
  if (intended instanceof Refusal) return refuse(rooms, arrival, intended, authenticated.caller)

  const answer = await deliver(intended, courier, rooms).catch(indeterminate)
  return conclude(rooms, intended, answer)
}

async function admit(rooms: Rooms, authenticated: Authenticated): Promise<Intended | Refusal> {
  const { fault } = authenticated.arrival
  if (fault !== null) return fault

  const authorized = await authorize(authenticated, rooms.authorization)
  if (authorized instanceof Refusal) return authorized

  const inspected = inspect(authorized, rooms)
  if (inspected instanceof Refusal) return inspected

  return recordIntent(inspected, rooms)
}

async function refuse(
  rooms: Rooms,
  arrival: Arrival,
  refusal: Refusal,
  caller: Caller | null = null,
): Promise<Outcome> {
  await recordRefusal(arrival, refusal, caller, rooms)
  return { refusal }
}

async function conclude(
  rooms: Rooms,
  intended: Intended,
  answer: Answered | Refusal,
): Promise<Outcome> {
  if (answer instanceof Refusal) {
    const facts = { code: answer.code, 'private.detail': writable(answer.detail) }
    // A receiver that was silent for too long may have acted all the same.
    const unknown = answer.code === 'UNDECIDED' || answer.code === 'RECEIVER_TIMED_OUT'
    const result = unknown ? 'unknown' : 'refused'
    await recordOutcome(intended, { result, facts, findings: [] }, rooms)
    return { refusal: answer }
  }
  const first = answer.handOver(rooms.authorization)
  if (first instanceof Refusal) return withhold(rooms, intended, { answer, refusal: first })
  if (!(first instanceof Uint8Array)) {
    const events = inspectedEvents(intended, answer, first, rooms)
    return { refusal: null, answer, body: events }
  }
  const { facts, findings } = answer
  const ending = { result: 'delivered', facts, findings } as const
  await recordOutcome(intended, ending, rooms).catch(async (cause: unknown) => {
    await answer.withhold().catch(() => undefined)
    throw cause
  })
  // The disk took its time: what the caller gets is decided after it, not before.
  const body = answer.handOver(rooms.authorization)
  if (!(body instanceof Refusal)) return { refusal: null, answer, body: first }
  await answer.withhold().catch(() => undefined)
  await recordLateWithdrawal(intended, body, rooms).catch(() => undefined)
  return { refusal: body }
}

/** The receiver acted, and its response is not handed over. Neither may be told as anything else. */
async function withhold(
  rooms: Rooms,
  intended: Intended,
  { answer, refusal }: { readonly answer: Answered; readonly refusal: Refusal },
): Promise<Outcome> {
  await answer.withhold().catch(() => undefined)
  const { findings } = answer
  const why = { code: refusal.code, 'private.detail': writable(refusal.detail) }
  const facts = { ...answer.facts, ...why }
  await recordOutcome(intended, { result: 'withheld', facts, findings }, rooms)
  return { refusal }
}

/** A stage that could not decide has decided no. */
function undecided(cause: unknown): Refusal {
  return new Refusal('UNDECIDED', String(cause))
}

/** The courier broke and cannot say whether the receiver acted; neither can we. */
function indeterminate(cause: unknown): Refusal {
  return new Refusal('UNDECIDED', `delivery is indeterminate: ${String(cause)}`)
}
