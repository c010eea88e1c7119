import { Refusal, type Withdrawal } from '../lib/refusal.ts'
import type { Authorized } from './authorize.ts'
import { type Answered, type DeliverDeps, mayLeave } from './deliver.ts'
import { declinedBy, type StillPermitted, Undelivered, Unobserved } from './delivery.ts'
import { undeliveredEnding, withheldEnding } from './ending.ts'
import type { Exchange } from './exchange.ts'
import { recheck } from './recheck.ts'
import { type Intended, recordLateWithdrawal, recordOutcome, unrecorded } from './record.ts'
import { type InspectedEvents, inspectedEvents, type StreamDeps } from './stream.ts'

export type ConcludeDeps = DeliverDeps & StreamDeps

/** An answer, whole or as inspected events, or a recorded refusal. */
export type Ended =
  | { readonly refusal: Refusal }
  | {
      readonly refusal: null
      readonly answer: Answered
      readonly body: Uint8Array | InspectedEvents
      /** To be asked while a whole answer is on its way to a caller that takes it slowly. */
      readonly still: StillPermitted
    }

/**
 * Ends an admitted exchange: by the answer of `deliver`, or as unobserved. Nothing may be answered
 * before this returns, because the outcome is durable then. Rejects only when the ledger cannot
 * record and the receiver has done nothing.
 */
export function conclude(
  deps: ConcludeDeps,
  exchange: Exchange<Intended>,
  answer: Answered | Undelivered,
): Promise<Ended>
/** The refusal is null when the adapter may hand the exchange over. */
export function conclude(
  deps: ConcludeDeps,
  exchange: Exchange<Intended>,
  unobserved: Unobserved,
): Promise<{ readonly refusal: Refusal | null }>
export async function conclude(
  deps: ConcludeDeps,
  exchange: Exchange<Intended>,
  answer: Answered | Undelivered | Unobserved,
): Promise<Ended | { readonly refusal: Refusal | null }> {
  if (answer instanceof Unobserved) return concludeUnobserved(deps, exchange, answer)
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
  deps: ConcludeDeps,
  exchange: Exchange<Intended>,
  { answer, ...late }: { readonly answer: Answered } & Parameters<typeof recordLateWithdrawal>[1],
): Promise<void> {
  await answer.withhold().catch(() => undefined)
  await recordLateWithdrawal(exchange, late, deps).catch(() => undefined)
}

/** Asks for the right to an answer again; the first no is the last, and goes on record. */
function stillOf(
  deps: ConcludeDeps,
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
  deps: ConcludeDeps,
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
  deps: ConcludeDeps,
  exchange: Exchange<Intended>,
  undelivered: Undelivered,
): Promise<Ended> {
  const end = undeliveredEnding(undelivered)
  const { refusal } = end
  try {
    await recordOutcome(exchange, { end, facts: {}, findings: [], bytes: 0 }, deps)
  } catch (cause) {
    // Nothing was delivered, so this is as when the intent could not be recorded.
    if (!refusal.mayHaveActed) throw cause
    return { refusal: unrecorded(cause) }
  }
  return { refusal }
}

/**
 * Refuses an exchange with obligations that only a transport which sees the answer can meet. An
 * adapter that hands exchanges over gives it to `admitMessage`, so that no intent is recorded for
 * what cannot leave.
 */
export function needsAnswer({ decision, received }: Exchange<Authorized>): Refusal | null {
  // An adapter that hands an exchange over has no part in the frames that come later.
  if (received.frames !== undefined) {
    return new Refusal('CONTENT_UNSUPPORTED', 'a streamed request cannot be handed over')
  }
  const { mask, block, signedResponse } = decision.obligations
  const needed = [...mask, ...block, ...(signedResponse ? ['a signed response'] : [])]
  if (needed.length === 0) return null
  const detail = `policy requires ${needed.join(', ')}, and no one here sees the response`
  return new Refusal('CONTENT_UNSUPPORTED', detail)
}

/**
 * The outcome is on record before the exchange is handed over, so that a crash in between leaves
 * one that may have been, and never one that was and is not on record.
 */
async function concludeUnobserved(
  deps: ConcludeDeps,
  exchange: Exchange<Intended>,
  { facts }: Unobserved,
): Promise<{ readonly refusal: Refusal | null }> {
  const refused = needsAnswer(exchange) ?? mayLeave(exchange, deps.authorization)
  if (refused !== null) return concludeUndelivered(deps, exchange, declinedBy(refused))
  const ending = { end: 'unobserved', facts, findings: [], bytes: 0 } as const
  await recordOutcome(exchange, ending, deps)
  // The disk took its time: whether the exchange leaves is decided after it, not before.
  const lost = recheck(exchange, deps.authorization)
  if (lost === null) return { refusal: null }
  const late = { refusal: lost, how: 'withheld' } as const
  await recordLateWithdrawal(exchange, late, deps).catch(() => undefined)
  return { refusal: lost.beforeDelivery() }
}

const recorded = (): null => null
