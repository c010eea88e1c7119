import type { ExchangeId } from '@countersign/protocol'
import { Refusal } from '../lib/refusal.ts'
import { admitMessage, refuse } from './admit.ts'
import type { ApproveDeps } from './approve.ts'
import { type AuthenticateDeps, headOf } from './authenticate.ts'
import { type ConcludeDeps, conclude, type Ended } from './conclude.ts'
import { deliver } from './deliver.ts'
import type { Forwarder, LocalReceiver } from './delivery.ts'
import type { UncheckedRequest } from './unchecked-request.ts'

/** Everything the stages ask for; `compose.ts` is the only place that gathers it. */
export type PipelineDeps = AuthenticateDeps & ApproveDeps & ConcludeDeps

/** The result that the transport encodes, and the id of the exchange that it is recorded under. */
export type Outcome = Ended & { readonly id: ExchangeId }

/**
 * The one way across, for a transport that delivers by itself: admits the head and the message,
 * delivers, and concludes. Nothing is delivered before its intent is durable, and nothing is
 * answered before the outcome is. Rejects only when the ledger cannot record and the receiver has
 * done nothing. Once it may have acted, an outcome that cannot be recorded is the refusal
 * `OUTCOME_UNKNOWN`.
 *
 * A receiver with conditions of its own checks the request before the intent: an intent
 * states a request whose checks have all passed.
 */
export async function enforce(
  deps: PipelineDeps,
  unchecked: UncheckedRequest,
  receiver: Forwarder | LocalReceiver,
): Promise<Outcome> {
  const given = headOf(unchecked, deps)
  const head = given instanceof Promise ? await given : given
  if (head instanceof Refusal) return refuse(deps, unchecked, head)

  const admitted = await admitMessage(deps, head, unchecked, (inspected) =>
    typeof receiver === 'function' ? receiver : receiver.check(inspected),
  )
  if (admitted.refusal !== null) return admitted
  const { exchange, checked: forwarder } = admitted

  const answer = await deliver(exchange, forwarder, deps)
  const ended = await conclude(deps, exchange, answer)
  return { ...ended, id: exchange.id }
}
