import type { ExchangeId } from '@countersign/protocol'
import type { Caller } from '../identity/caller.ts'
import { andThen, type Maybe, Refusal, undecided } from '../lib/refusal.ts'
import { type ApproveDeps, approve } from './approve.ts'
import {
  type AuthenticateDeps,
  type Authenticated,
  authenticate,
  type Identified,
  identify,
} from './authenticate.ts'
import { type AuthorizeDeps, authorize } from './authorize.ts'
import type { Exchange } from './exchange.ts'
import { type InspectDeps, type Inspected, inspect } from './inspect.ts'
import {
  type Intended,
  type RecordDeps,
  type Refused,
  recordIntent,
  recordRefusal,
} from './record.ts'
import type { FirstMessage, UncheckedHead } from './unchecked-request.ts'

export type HeadDeps = Pick<AuthenticateDeps, 'authenticators'>

export interface MessageDeps
  extends AuthenticateDeps,
    InspectDeps,
    ApproveDeps,
    Omit<RecordDeps, 'signatures'> {
  readonly authorization: AuthorizeDeps
}

/** A head whose caller is identified, and what was reserved for that caller. */
export interface AdmittedHead<Reserved> {
  readonly identified: Exchange<Identified>
  readonly reserved: Reserved
}

/**
 * The first step, before a byte of the body is read: identifies the caller, and reserves its share
 * of what a body costs. The body is then read within what was reserved. Records nothing: a refused
 * head is recorded with its message, which `UncheckedRequest.head` leads to. Never rejects, and
 * waits only where a credential does.
 */
export function admitHead<Reserved>(
  deps: HeadDeps,
  head: UncheckedHead,
  reserve: (identified: Exchange<Identified>) => Reserved | Refusal,
): Maybe<AdmittedHead<Reserved>> {
  return andThen(identify(head, deps), (identified) => admitIdentified(identified, reserve))
}

function admitIdentified<Reserved>(
  identified: Exchange<Identified> | Refusal,
  reserve: (identified: Exchange<Identified>) => Reserved | Refusal,
): AdmittedHead<Reserved> | Refusal {
  if (identified instanceof Refusal) return identified
  const reserved = reserve(identified)
  return reserved instanceof Refusal ? reserved : { identified, reserved }
}

/** An exchange whose intent is durable, with the result of the receiver's own checks. */
export interface Admitted<Checked> {
  readonly refusal: null
  readonly exchange: Exchange<Intended>
  readonly checked: Checked
}

/** An exchange that a stage refused; the refusal is on record. */
export interface RefusedExchange {
  readonly refusal: Refusal
  readonly id: ExchangeId
}

/** The receiver's own checks of an inspected message, such as membership and signatures. */
export type ReceiverCheck<Checked> = (exchange: Exchange<Inspected>) => Maybe<Checked>

/**
 * The second step, with the first message: authenticates it, with its credentials looked up again,
 * authorizes, inspects, runs the receiver's own checks, uses the approval that policy requires, and
 * records the intent, which is durable when this returns. A refusal is on record when it is
 * returned. The adapter then delivers, and calls `conclude` with the end. Rejects only when the
 * ledger cannot record; nothing was delivered.
 */
export async function admitMessage<Checked>(
  deps: MessageDeps,
  head: Exchange<Identified>,
  message: FirstMessage,
  check: ReceiverCheck<Checked>,
): Promise<Admitted<Checked> | RefusedExchange> {
  const given = authenticate(head, message, deps)
  const authenticated = given instanceof Promise ? await given : given
  if (authenticated instanceof Refusal) return refuse(deps, message, authenticated)
  const { fault, faultOfRoute = null } = message
  const permitted =
    fault ?? (await permit(deps, authenticated, { faultOfRoute, check }).catch(undecided))
  if (permitted instanceof Refusal) {
    return refuse(deps, authenticated, permitted, authenticated.caller)
  }
  return permitted
}

interface Permitting<Checked> {
  readonly faultOfRoute: Refusal | null
  readonly check: ReceiverCheck<Checked>
}

async function permit<Checked>(
  deps: MessageDeps,
  authenticated: Exchange<Authenticated>,
  { faultOfRoute, check }: Permitting<Checked>,
): Promise<Admitted<Checked> | Refusal> {
  const authorized = await authorize(authenticated, deps.authorization)
  if (authorized instanceof Refusal) return authorized
  if (faultOfRoute !== null) return faultOfRoute

  const inspecting = inspect(authorized, deps)
  const inspected = inspecting instanceof Promise ? await inspecting : inspecting
  if (inspected instanceof Refusal) return inspected

  const checking = check(inspected)
  const checked = checking instanceof Promise ? await checking : checking
  if (checked instanceof Refusal) return checked

  const approving = approve(inspected, deps)
  const approved = approving instanceof Promise ? await approving : approving
  if (approved instanceof Refusal) return approved

  const exchange = await recordIntent(approved, deps)
  return exchange instanceof Refusal ? exchange : { refusal: null, exchange, checked }
}

/** Records the refusal, and returns it. */
export async function refuse(
  deps: RecordDeps,
  exchange: Refused,
  refusal: Refusal,
  caller: Caller | null = null,
): Promise<RefusedExchange> {
  const recording = recordRefusal(exchange, refusal, caller, deps)
  // A refusal that states that the ledger is full, and at which limit, does not need a record.
  const isBusy = refusal.code === 'LEDGER_UNAVAILABLE'
  await (isBusy ? recording.catch(() => undefined) : recording)
  return { refusal, id: exchange.id }
}
