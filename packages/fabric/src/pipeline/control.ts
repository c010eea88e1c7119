import type { Caller } from '../identity/caller.ts'
import { Refusal, undecided, Withdrawal } from '../lib/refusal.ts'
import { type Authenticated, authenticate, headOf } from './authenticate.ts'
import { type Authorized, authorize, PolicyRefusal } from './authorize.ts'
import type { StillPermitted } from './delivery.ts'
import type { PipelineDeps } from './enforce.ts'
import type { Exchange } from './exchange.ts'
import { recheck } from './recheck.ts'
import { recordRefusal, unrecordedAs } from './record.ts'
import type { UncheckedRequest } from './unchecked-request.ts'

/**
 * Lets a caller at the fabric's own machinery: receipts of its exchanges, discovery, a connector's
 * entries. Identified and permitted like everything else, and refusals are recorded; what is let
 * through is not, because it carries no message: it reads what the ledger already holds, or is
 * itself what goes into the ledger. Recorded, each receipt would lead to two more entries.
 */
export async function admitControl(
  deps: PipelineDeps,
  unchecked: UncheckedRequest,
): Promise<Exchange<Authorized> | Refusal> {
  const head = await headOf(unchecked, deps)
  const authenticated = head instanceof Refusal ? head : await authenticate(head, unchecked, deps)
  if (authenticated instanceof Refusal) {
    await recordRefusal(unchecked, authenticated, null, deps)
    return authenticated
  }
  const authorized = unchecked.fault ?? (await permit(authenticated, deps).catch(undecided))
  if (authorized instanceof Refusal) {
    await recordRefusal(unchecked, authorized, authenticated.caller, deps)
  }
  return authorized
}

/**
 * Requests of this kind are not recorded, so that no approval of one could be shown. A call to an
 * agent is admitted here on the caller's side alone: the side of the receiver, which delivers it,
 * holds it to the approval.
 */
async function permit(
  authenticated: Exchange<Authenticated>,
  deps: PipelineDeps,
): Promise<Exchange<Authorized> | Refusal> {
  const authorized = await authorize(authenticated, deps.authorization)
  if (authorized instanceof Refusal) return authorized
  const { approval } = authorized.decision.obligations
  if (approval === null || authorized.target.kind === 'agent') return authorized
  return PolicyRefusal.of(authorized, new Refusal('APPROVAL_REQUIRED', approval))
}

/** An admitted request for the fabric's own machinery. */
export interface ControlRequest {
  readonly caller: Caller
  /** To be asked after every wait, before anything is changed. */
  readonly still: StillPermitted
}

/**
 * Admits a request, carries it out, and asks the question again before anything is handed over:
 * `work` may have waited for a disk, or for half a minute. Refusals of `work` are recorded as well.
 */
export async function answerControl<Value>(
  deps: PipelineDeps,
  unchecked: UncheckedRequest,
  work: (request: ControlRequest) => Promise<Value | Refusal>,
): Promise<Value | Refusal> {
  const authorized = await admitControl(deps, unchecked)
  if (authorized instanceof Refusal) return authorized
  const { caller } = authorized
  const still = () => recheck(authorized, deps.authorization)
  const value = await work({ caller, still })
  const refusal = value instanceof Refusal ? declined(value) : still()
  if (refusal === null) return value
  await recordRefusal(unchecked, refusal, caller, deps)
  return refusal
}

export interface RecordedRefusal {
  /** The caller that the connection proved; null for an unauthenticated client. */
  readonly caller: Caller | null
  /** The refusal to answer with where the given one is not on record, as on a full disk. */
  readonly unrecorded: Refusal | null
}

/**
 * Records what could not be read, under the name of the caller that the connection proved. Nothing
 * is decided here: the caller receives a refusal in any case.
 */
export async function recordRefusedRequest(
  deps: PipelineDeps,
  unchecked: UncheckedRequest,
  refusal: Refusal,
): Promise<RecordedRefusal> {
  const head = await headOf(unchecked, deps)
  const caller = head instanceof Refusal ? null : head.caller
  const unrecorded = await recordRefusal(unchecked, refusal, caller, deps).then(
    () => null,
    (cause: unknown) => unrecordedAs(refusal, cause),
  )
  return { caller, unrecorded }
}

/** `work` refuses before it changes anything. */
function declined(refusal: Refusal): Refusal {
  return refusal instanceof Withdrawal ? refusal.beforeDelivery() : refusal
}
