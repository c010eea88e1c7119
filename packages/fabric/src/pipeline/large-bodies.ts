import type { Refusal } from '../lib/refusal.ts'
import type { Redacted, RedactionOrder, Redactor } from '../redaction/redactor.ts'

/** Larger bodies are inspected in a thread of their own: this many take some 50 ms at worst. */
export const inlineBytesMax = 32 * 1024

/** Inspects bodies that would stop every other exchange for too long. Same results as `Redactor`. */
export interface LargeBodies {
  /** `client` is the account whose turn it takes; refuses rather than wait without bound. */
  redact(
    message: { readonly body: Uint8Array; readonly contentType: string },
    order: RedactionOrder,
    client: string,
  ): Promise<Redacted | Refusal>
}

export interface BodyRedaction {
  readonly redactor: Redactor
  /** Absent where every body is small. */
  readonly largeBodies?: LargeBodies
}

export function redactBody(
  { redactor, largeBodies }: BodyRedaction,
  message: { readonly body: Uint8Array; readonly contentType: string },
  order: RedactionOrder,
  client: string,
): Redacted | Refusal | Promise<Redacted | Refusal> {
  return largeBodies === undefined || message.body.length <= inlineBytesMax
    ? redactor.redact(message.body, message.contentType, order)
    : largeBodies.redact(message, order, client)
}
