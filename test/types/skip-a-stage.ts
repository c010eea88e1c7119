/**
 * Every way to get a message across without a stage, none of which compiles. `npm run check` fails
 * when one of these lines stops being an error, and `skip-a-stage.test.ts` when it becomes another
 * error than the one that is named here. Nothing in this file ever runs.
 */

import {
  type Admission,
  type AdmissionOptions,
  admitCaller,
} from '../../packages/fabric/src/budgets/admission.ts'
import type { Presented } from '../../packages/fabric/src/identity/caller.ts'
import { admitHead, admitMessage } from '../../packages/fabric/src/pipeline/admit.ts'
import { type ApproveDeps, approve } from '../../packages/fabric/src/pipeline/approve.ts'
import {
  type AuthenticateDeps,
  type Authenticated,
  authenticate,
  type Identified,
  identify,
} from '../../packages/fabric/src/pipeline/authenticate.ts'
import {
  type AuthorizeDeps,
  type Authorized,
  authorize,
} from '../../packages/fabric/src/pipeline/authorize.ts'
import { conclude } from '../../packages/fabric/src/pipeline/conclude.ts'
import { type DeliverDeps, deliver } from '../../packages/fabric/src/pipeline/deliver.ts'
import { type Forwarder, Unobserved } from '../../packages/fabric/src/pipeline/delivery.ts'
import type { PipelineDeps } from '../../packages/fabric/src/pipeline/enforce.ts'
import { type Exchange, extend, openExchange } from '../../packages/fabric/src/pipeline/exchange.ts'
import {
  type InspectDeps,
  type Inspected,
  inspect,
} from '../../packages/fabric/src/pipeline/inspect.ts'
import {
  type Intended,
  type RecordDeps,
  recordIntent,
} from '../../packages/fabric/src/pipeline/record.ts'
import type {
  UncheckedHead,
  UncheckedRequest,
} from '../../packages/fabric/src/pipeline/unchecked-request.ts'
import type { Head } from '../../packages/fabric/src/protocols/reading/head.ts'
import type { ArrivingBody } from '../../packages/fabric/src/transports/http/arriving-body.ts'

export interface Given {
  readonly head: UncheckedHead
  readonly unchecked: UncheckedRequest
  readonly identified: Exchange<Identified>
  readonly authenticated: Exchange<Authenticated>
  readonly authorized: Exchange<Authorized>
  readonly inspected: Exchange<Inspected>
  readonly intended: Exchange<Intended>
  readonly forwarder: Forwarder
  readonly deps: AuthenticateDeps & InspectDeps & ApproveDeps & RecordDeps & DeliverDeps
  readonly authorization: AuthorizeDeps
  readonly all: PipelineDeps
}

/** The whole way compiles, so that the errors below are about what is missing and nothing else. */
export async function wholeWay(given: Given): Promise<boolean> {
  const { head, unchecked, forwarder, deps, authorization } = given
  const identified = await identify(head, deps)
  if ('code' in identified) return false
  const authenticated = await authenticate(identified, unchecked, deps)
  if ('code' in authenticated) return false
  const authorized = await authorize(authenticated, authorization)
  if ('code' in authorized) return false
  const inspected = await inspect(authorized, deps)
  if ('code' in inspected) return false
  const approved = await approve(inspected, deps)
  if ('code' in approved) return false
  const intended = await recordIntent(approved, deps)
  if ('code' in intended) return false
  await deliver(intended, forwarder, deps)
  return true
}

/** The two steps, for an adapter that delivers by itself or hands the exchange over. */
export async function inSteps(given: Given): Promise<boolean> {
  const { head, unchecked, forwarder, deps, all } = given
  const admittedHead = await admitHead(deps, head, () => null)
  if ('code' in admittedHead) return false
  const admitted = await admitMessage(all, admittedHead.identified, unchecked, () => null)
  if (admitted.refusal !== null) return false
  await conclude(all, admitted.exchange, await deliver(admitted.exchange, forwarder, deps))
  await conclude(all, admitted.exchange, new Unobserved())
  return true
}

export async function skippingSteps(given: Given): Promise<void> {
  const { head, unchecked, identified, inspected, all } = given
  // @ts-expect-error wrong type: admits a message whose head was not admitted
  await admitMessage(all, head, unchecked, () => null)
  // @ts-expect-error wrong type: concludes an exchange without an intent
  await conclude(all, inspected, new Unobserved())
  // @ts-expect-error wrong type: concludes the head of an exchange
  await conclude(all, identified, new Unobserved())
}

export async function skipping(given: Given): Promise<void> {
  const { unchecked, identified, authenticated, authorized, inspected } = given
  const { forwarder, deps, authorization } = given
  // @ts-expect-error wrong type: authenticates a message whose head was not identified
  await authenticate(unchecked, unchecked, deps)
  // @ts-expect-error wrong type: authorizes a head, whose message was not authenticated
  await authorize(identified, authorization)
  // @ts-expect-error wrong type: authorizes what nobody authenticated
  await authorize(unchecked, authorization)
  // @ts-expect-error wrong type: inspects what policy did not permit
  await inspect(authenticated, deps)
  // @ts-expect-error wrong type: asks for an approval of what was not inspected
  await approve(authorized, deps)
  // @ts-expect-error wrong type: records an intent for what may need an approval
  await recordIntent(inspected, deps)
  // @ts-expect-error wrong type: delivers what is not on record
  await deliver(inspected, forwarder, deps)
  // @ts-expect-error wrong type: hands what is not on record to the forwarder
  await forwarder(inspected, () => null)
}

export async function ignoringRefusals(given: Given): Promise<void> {
  const { head, unchecked, identified, authenticated, authorized, inspected } = given
  const { deps, authorization } = given
  // @ts-expect-error wrong type: goes on after a refused identification
  await authenticate(await identify(head, deps), unchecked, deps)
  // @ts-expect-error wrong type: goes on after a refused authentication
  await authorize(await authenticate(identified, unchecked, deps), authorization)
  // @ts-expect-error wrong type: goes on after a refused authorization
  await inspect(await authorize(authenticated, authorization), deps)
  // @ts-expect-error wrong type: goes on after a refused inspection
  await approve(await inspect(authorized, deps), deps)
  // @ts-expect-error wrong type: goes on without the approval that is required
  await recordIntent(await approve(inspected, deps), deps)
}

interface Request {
  readonly body: ArrivingBody
  readonly head: Head
  readonly admission: Admission
  readonly options: AdmissionOptions
  readonly presented: Presented
}

/** A body is read with what the judged head gives, and with nothing else. */
export async function readingEarly(request: Request): Promise<void> {
  const { body, head, admission, options, presented } = request
  await body.read(admission, head)
  // @ts-expect-error wrong type: reads a body on the word of its sender
  await body.read(presented, head)
  // @ts-expect-error wrong type: writes down an admission that no head gave
  await body.read({ share: admission.share, bodyBytesMax: 1 }, head)
  // @ts-expect-error wrong type: admits a caller that was not identified
  admitCaller(presented, options)
}

export function forging(given: Given): readonly unknown[] {
  const { unchecked, authenticated, authorized, inspected, intended } = given
  const { caller } = authenticated
  // @ts-expect-error wrong type: writes down an authentication that never ran
  const written: Exchange<Authenticated> = { ...unchecked, caller, signed: true, left: undefined }
  // @ts-expect-error wrong type: copies one with another caller
  const other: Exchange<Authenticated> = { ...authenticated, caller: { ...caller, name: 'other' } }
  // @ts-expect-error wrong type: copies one as it is
  const copied: Exchange<Authenticated> = { ...authenticated }
  // @ts-expect-error wrong type: copies a decision with fewer obligations
  const eased: Exchange<Authorized> = { ...authorized, decision: authorized.decision }
  // @ts-expect-error wrong type: copies an inspection with another body
  const swapped: Exchange<Inspected> = { ...inspected, forwardable: inspected.forwardable }
  // @ts-expect-error wrong type: copies an intent for another message
  const moved: Exchange<Intended> = { ...intended, intent: intended.intent }
  // @ts-expect-error wrong type: dresses up a class of its own
  const dressed: Exchange<Authenticated> = new DressedUp(authenticated)
  // @ts-expect-error read-only: changes the caller of a true one
  authenticated.caller = caller
  return [written, other, copied, eased, swapped, moved, dressed]
}

/** The functions that make exchanges are exported; the keys of the stages' results are not. */
export function extending(given: Given): readonly unknown[] {
  const { authenticated, authorized, inspected } = given
  const { decision, question, policyVersion, quota } = authorized
  // @ts-expect-error wrong type: opens an exchange with a copy as its result
  const opened: Exchange<Authenticated> = openExchange({ ...authenticated })
  // @ts-expect-error wrong type: opens an exchange with another exchange as its result
  const nested: Exchange<Authenticated> = openExchange(authenticated)
  // @ts-expect-error wrong type: writes down the result of a stage
  const decided: Exchange<Authorized> = extend(authenticated, {
    ...{ decision, question, policyVersion, quota },
  })
  // @ts-expect-error wrong type: takes the decision from another exchange
  const spliced = extend(authenticated, { ...authorized })
  // @ts-expect-error wrong type: replaces the caller of an authorized exchange
  const replaced = extend(authorized, { caller: authorized.caller })
  // @ts-expect-error wrong type: replaces the body of an inspected exchange
  const unmasked = extend(inspected, { forwardable: inspected.forwardable })
  // @ts-expect-error wrong type: adds the members of a stage to an exchange itself
  const assigned: Exchange<Authorized> = Object.assign(authenticated, {
    ...{ decision, question, policyVersion, quota },
  })
  return [opened, nested, decided, spliced, replaced, unmasked, assigned]
}

class DressedUp {
  readonly #known: null = null
  readonly id: Exchange<Authenticated>['id']
  readonly caller: Exchange<Authenticated>['caller']
  readonly signed = true
  readonly at = 0
  readonly transport = 'mesh'
  readonly target: Exchange<Authenticated>['target']
  readonly received: Exchange<Authenticated>['received']
  readonly signature = null
  readonly left = undefined

  constructor({ id, caller, target, received }: Exchange<Authenticated>) {
    this.id = id
    this.caller = caller
    this.target = target
    this.received = received
  }

  get known(): null {
    return this.#known
  }
}

export async function constructing({ authenticated }: Given): Promise<unknown> {
  const module = await import('../../packages/fabric/src/pipeline/exchange.ts')
  // @ts-expect-error not exported: constructs what only a stage may
  const made = new module.Carrier()
  // @ts-expect-error not exported: extends the class of exchanges
  class Sub extends module.Carrier {}
  const stage = await import('../../packages/fabric/src/pipeline/authenticate.ts')
  // @ts-expect-error not exported: names the key of a stage
  return [made, Sub, openExchange({ ...authenticated, [stage.authenticated]: true })]
}
