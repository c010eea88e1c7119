import { Refusal } from '../lib/refusal.ts'
import { sha256 } from '../lib/sha256.ts'
import type { Finding } from '../redaction/redactor.ts'
import { type Authorized, PolicyRefusal } from './authorize.ts'
import type { Fields } from './inspect-fields.ts'
import type { InspectedParts } from './inspect-parts.ts'
import { type BodyRedaction, inspectShared } from './large-bodies.ts'

/** Redaction dependencies of the stage. Of a sealed message the stage reads the form alone. */
export type InspectDeps = BodyRedaction

interface Forwardable {
  readonly body: Uint8Array
  readonly headers: Fields
  readonly findings: readonly Finding[]
}

/**
 * Proof that the message was inspected whole, with what may be forwarded. Made in this file only.
 */
class Inspected {
  readonly authorized: Authorized
  readonly #body: Uint8Array
  readonly #headers: Fields
  readonly #findings: readonly Finding[]
  #digest: Uint8Array | null = null

  constructor(authorized: Authorized, { body, headers, findings }: Forwardable) {
    this.authorized = authorized
    this.#body = body
    this.#headers = headers
    this.#findings = findings
  }

  /** The bytes that may leave: masked as policy obliges. */
  get body(): Uint8Array {
    return this.#body
  }

  /** The fields that may leave. */
  get headers(): Fields {
    return this.#headers
  }

  /** SHA-256 of the body, computed once for the record, the signature and the receiver. */
  get digest(): Uint8Array {
    this.#digest ??= sha256(this.#body)
    return this.#digest
  }

  get findings(): readonly Finding[] {
    return this.#findings
  }
}

export type { Inspected }

export async function inspect(
  authorized: Authorized,
  deps: InspectDeps,
): Promise<Inspected | Refusal> {
  const given = inspectMessage(authorized, deps)
  const inspected = given instanceof Promise ? await given : given
  // The refusal enforces an obligation of policy, so the decision is recorded with it.
  return inspected instanceof Refusal ? PolicyRefusal.after(authorized, inspected) : inspected
}

/** A promise only where the message is for the thread: every other one is inspected at once. */
function inspectMessage(
  authorized: Authorized,
  deps: InspectDeps,
): Inspected | Refusal | Promise<Inspected | Refusal> {
  const { unchecked, caller } = authorized.authenticated
  const { message, target, signature } = unchecked
  const { mask, block } = authorized.decision.obligations
  // The fabric does not have a key for a sealed message. Its sender masked before sealing and
  // states this in the signed labels, on which policy has just decided. A message that cannot meet
  // its obligations is refused.
  if (target.protocol === 'queue') {
    const { labels } = authorized.request.context
    const missing = [...mask, ...block].filter((name) => !labels.includes(`no-${name}`))
    return missing.length === 0
      ? new Inspected(authorized, { ...message, findings: [] })
      : new Refusal('CONTENT_UNSUPPORTED', `the sealed message lacks no-${missing.join(', no-')}`)
  }
  const { path, headers: fields, contentType, body } = message
  const parts = { path, signature: signature?.signed ?? null, fields, frame: [], body, contentType }
  const client = `${caller.kind}/${caller.name}`
  const account = { name: client, caller: client, isAnswer: false, left: unchecked.left }
  const given = inspectShared(deps, parts, { mask, block }, account)
  const conclude = (inspected: InspectedParts | Refusal): Inspected | Refusal => {
    if (inspected instanceof Refusal) return inspected
    const { fields: headers, findings } = inspected
    return new Inspected(authorized, { body: inspected.body ?? body, headers, findings })
  }
  return given instanceof Promise ? given.then(conclude) : conclude(given)
}
