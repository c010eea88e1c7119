import { Refusal } from '../lib/refusal.ts'
import type { Finding, Redactor } from '../redaction/redactor.ts'
import type { Authorized } from './authorize.ts'

/** What the stage asks of redaction. Sealed messages have their own, which reads no plaintext. */
export interface InspectRoom {
  readonly redactor: Redactor
}

/** Proof that the body was inspected whole, with what may be forwarded. Made in this file only. */
class Inspected {
  readonly authorized: Authorized
  readonly #body: Uint8Array
  readonly #findings: readonly Finding[]

  constructor(authorized: Authorized, body: Uint8Array, findings: readonly Finding[]) {
    this.authorized = authorized
    this.#body = body
    this.#findings = findings
  }

  /** The bytes that may leave: masked as policy obliges. */
  get body(): Uint8Array {
    return this.#body
  }

  get findings(): readonly Finding[] {
    return this.#findings
  }
}

export type { Inspected }

export function inspect(authorized: Authorized, room: InspectRoom): Inspected | Refusal {
  const { message, target } = authorized.authenticated.arrival
  const { mask, block } = authorized.decision.obligations
  // The fabric holds no key for a sealed message. Its sender masked before sealing and says so in
  // the signed labels, on which policy has just decided; what cannot be honoured is refused.
  if (target.protocol === 'queue') {
    const missing = [...mask, ...block].filter((name) => !target.labels.includes(`no-${name}`))
    return missing.length === 0
      ? new Inspected(authorized, message.body, [])
      : new Refusal('CONTENT_UNSUPPORTED', `the sealed message lacks no-${missing.join(', no-')}`)
  }
  const redacted = room.redactor.redact(message.body, message.contentType, { mask, block })
  if (redacted instanceof Refusal) return redacted
  return new Inspected(authorized, redacted.body, redacted.findings)
}
