import { andThen, type Maybe, Refusal } from '../lib/refusal.ts'
import { sha256 } from '../lib/sha256.ts'
import type { Finding } from '../redaction/redactor.ts'
import { type Authorized, PolicyRefusal } from './authorize.ts'
import { type Exchange, extend } from './exchange.ts'
import type { Fields } from './inspect-fields.ts'
import { opaqueFault, partsOfFrame, wholeFrame } from './inspect-frame.ts'
import type { InspectedParts } from './inspect-parts.ts'
import { type BodyRedaction, inspectShared } from './large-bodies.ts'
import { Upload } from './upload.ts'

/** Redaction dependencies of the stage. Of a sealed message the stage reads the form alone. */
export type InspectDeps = BodyRedaction

const inspected: unique symbol = Symbol('inspected')

/** The message as it may leave: masked by the obligations of policy. */
export interface Forwardable {
  readonly body: Uint8Array
  readonly headers: Fields
  /** SHA-256 of the body, computed once for the record, the signature and the receiver. */
  readonly digest: Uint8Array
}

/** Made in this file only. */
interface Inspection {
  readonly [inspected]: true
  /** The one form that may be forwarded; `received` is what came in. */
  readonly forwardable: Forwardable
  readonly findings: readonly Finding[]
  /** The frames of a streamed request, the first one as it may leave; null of any other. */
  readonly upload: Upload | null
}

/** Known once the message was inspected whole. */
export type Inspected = Authorized & Inspection

/** A promise only where the message is for the thread, as with `inspectMessage`. */
export function inspect(
  exchange: Exchange<Authorized>,
  deps: InspectDeps,
): Maybe<Exchange<Inspected>> {
  return andThen(inspectMessage(exchange, deps), (found) => inspectedAs(exchange, found))
}

function inspectedAs(
  exchange: Exchange<Authorized>,
  found: Found | Refusal,
): Exchange<Inspected> | Refusal {
  // The refusal enforces an obligation of policy, so the decision is recorded with it.
  if (found instanceof Refusal) return PolicyRefusal.after(exchange, found)
  const { body, headers, findings } = found
  const { frames } = exchange.received
  if (frames !== undefined) {
    const upload = new Upload(frames, body)
    const forwardable = leavingFirst(upload, headers, sha256(body))
    return extend(exchange, { [inspected]: true as const, forwardable, findings, upload })
  }
  const forwardable = { body, headers, digest: sha256(body) }
  const upload = null
  return extend(exchange, { [inspected]: true as const, forwardable, findings, upload })
}

/** Its body goes with the first frame: it would be kept for as long as the stream is open. */
function leavingFirst(upload: Upload, headers: Fields, digest: Uint8Array): Forwardable {
  return {
    get body() {
      return upload.firstForwarded
    },
    headers,
    digest,
  }
}

type Found = Omit<Forwardable, 'digest'> & Pick<Inspection, 'findings'>

/** A promise only where the message is for the thread: every other one is inspected at once. */
function inspectMessage(exchange: Exchange<Authorized>, deps: InspectDeps): Maybe<Found> {
  const { target, transport, received, signature, caller, left, decision, question } = exchange
  const { mask, block } = decision.obligations
  const { path, headers: fields, contentType, body } = received
  // The fabric does not have a key for a sealed message. Its sender masked before sealing and
  // states this in the signed labels, on which policy has just decided. A message that cannot meet
  // its obligations is refused.
  if (target.protocol === 'queue') {
    const { labels } = question.context
    const missing = [...mask, ...block].filter((name) => !labels.includes(`no-${name}`))
    return missing.length === 0
      ? { body, headers: fields, findings: [] }
      : new Refusal('CONTENT_UNSUPPORTED', `the sealed message lacks no-${missing.join(', no-')}`)
  }
  const head = { path, signature: signature?.signed ?? null, fields, frame: [] }
  const { first = null } = received.frames ?? {}
  const parts =
    first === null ? { ...head, body, contentType } : { ...head, ...partsOfFrame(first) }
  const opaque = first === null ? null : opaqueFault(first, decision.obligations)
  if (opaque !== null) return opaque
  // Before the intent: the receiver's connector has no signature of the request on record that its
  // countersignature could answer.
  if (first !== null && transport === 'mesh' && decision.obligations.signedResponse) {
    return new Refusal('CONTENT_UNSUPPORTED', 'no connector countersigns the answer to a stream')
  }
  const client = caller.principal
  const account = { name: client, caller: client, isAnswer: false, left }
  const given = inspectShared(deps, parts, { mask, block }, account)
  const conclude = (result: InspectedParts | Refusal): Found | Refusal => {
    if (result instanceof Refusal) return result
    const { fields: headers, findings } = result
    const leaving = result.body ?? body
    return { body: first === null ? leaving : wholeFrame(first, leaving), headers, findings }
  }
  return andThen(given, conclude)
}
