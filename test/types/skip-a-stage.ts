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
import {
  type AuthenticateDeps,
  type Authenticated,
  authenticate,
} from '../../packages/fabric/src/pipeline/authenticate.ts'
import {
  type AuthorizeDeps,
  type Authorized,
  authorize,
} from '../../packages/fabric/src/pipeline/authorize.ts'
import { type DeliverDeps, deliver } from '../../packages/fabric/src/pipeline/deliver.ts'
import type { Forwarder } from '../../packages/fabric/src/pipeline/delivery.ts'
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
import type { UncheckedRequest } from '../../packages/fabric/src/pipeline/unchecked-request.ts'
import type { Head } from '../../packages/fabric/src/protocols/reading/head.ts'
import type { ArrivingBody } from '../../packages/fabric/src/transports/http/arriving-body.ts'

export interface Given {
  readonly unchecked: UncheckedRequest
  readonly authenticated: Authenticated
  readonly authorized: Authorized
  readonly inspected: Inspected
  readonly intended: Intended
  readonly forwarder: Forwarder
  readonly deps: AuthenticateDeps & InspectDeps & RecordDeps & DeliverDeps
  readonly authorization: AuthorizeDeps
}

/** The whole way compiles, so that the errors below are about what is missing and nothing else. */
export async function wholeWay({
  unchecked,
  forwarder,
  deps,
  authorization,
}: Given): Promise<boolean> {
  const authenticated = await authenticate(unchecked, deps)
  if ('code' in authenticated) return false
  const authorized = await authorize(authenticated, authorization)
  if ('code' in authorized) return false
  const inspected = await inspect(authorized, deps)
  if ('code' in inspected) return false
  const intended = await recordIntent(inspected, deps)
  if ('code' in intended) return false
  await deliver(intended, forwarder, deps)
  return true
}

export async function skipping(given: Given): Promise<void> {
  const { unchecked, authenticated, authorized, inspected, forwarder, deps, authorization } = given
  // @ts-expect-error wrong type: authorizes what nobody authenticated
  await authorize(unchecked, authorization)
  // @ts-expect-error wrong type: inspects what policy did not permit
  await inspect(authenticated, deps)
  // @ts-expect-error wrong type: records an intent for what was not inspected
  await recordIntent(authorized, deps)
  // @ts-expect-error wrong type: delivers what is not on record
  await deliver(inspected, forwarder, deps)
  // @ts-expect-error wrong type: hands what is not on record to the forwarder
  await forwarder(inspected, () => null)
}

export async function ignoringRefusals(given: Given): Promise<void> {
  const { unchecked, authenticated, authorized, deps, authorization } = given
  // @ts-expect-error wrong type: goes on after a refused authentication
  await authorize(await authenticate(unchecked, deps), authorization)
  // @ts-expect-error wrong type: goes on after a refused authorization
  await inspect(await authorize(authenticated, authorization), deps)
  // @ts-expect-error wrong type: goes on after a refused inspection
  await recordIntent(await inspect(authorized, deps), deps)
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
  const { caller, signed } = authenticated
  // @ts-expect-error wrong type: writes down an authentication that never ran
  const written: Authenticated = { unchecked, caller, signed }
  // @ts-expect-error wrong type: copies one with another caller
  const other: Authenticated = { ...authenticated, caller: { ...caller, name: 'somebody-else' } }
  // @ts-expect-error wrong type: copies a decision with fewer obligations
  const eased: Authorized = { ...authorized, decision: authorized.decision }
  // @ts-expect-error wrong type: copies an inspection with another body
  const swapped: Inspected = { ...inspected, body: new Uint8Array() }
  // @ts-expect-error wrong type: copies an intent for another message
  const moved: Intended = { ...intended, committed: intended.committed }
  // @ts-expect-error wrong type: dresses up a class of its own
  const dressed: Authenticated = new DressedUp(unchecked, caller)
  // @ts-expect-error read-only: changes the caller of a true one
  authenticated.caller = caller
  return [written, other, eased, swapped, moved, dressed]
}

class DressedUp {
  readonly unchecked: UncheckedRequest
  readonly #caller: Authenticated['caller']
  readonly signed = true

  constructor(unchecked: UncheckedRequest, caller: Authenticated['caller']) {
    this.unchecked = unchecked
    this.#caller = caller
  }

  get caller(): Authenticated['caller'] {
    return this.#caller
  }
}

export async function constructing({ unchecked, authenticated }: Given): Promise<unknown> {
  const stage = await import('../../packages/fabric/src/pipeline/authenticate.ts')
  // @ts-expect-error not exported: constructs what only its stage may
  return new stage.Authenticated(unchecked, authenticated.caller, true)
}
