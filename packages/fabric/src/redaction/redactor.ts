import type { Refusal } from '../lib/refusal.ts'
import type { InspectionWork } from './inspection-work.ts'

/** The data classes that a policy can name in `@mask` and `@block`. */
export const DATA_CLASSES = ['card', 'iban', 'email', 'ssn', 'phone', 'credential'] as const
export type DataClass = (typeof DATA_CLASSES)[number]

export function isDataClass(value: string): value is DataClass {
  return (DATA_CLASSES as readonly string[]).includes(value)
}

/** One thing that was found. The value itself never appears in it. */
export interface Finding {
  readonly dataClass: DataClass
  /** Name of the detector that found it, such as `github-token`. */
  readonly detector: string
  /**
   * JSON Pointer (RFC 6901) of the leaf, or `text` in content that is not JSON. Names that hold
   * something sensitive themselves appear as their class.
   */
  readonly path: string
  /** Byte offsets in the body as it came in. */
  readonly start: number
  readonly end: number
  readonly operator: 'redact' | 'replace' | 'mask' | 'hash' | 'none'
}

/** A page of a customer list has hundreds; more than this is an export, not a message. */
export const findingsLimit = { name: 'inspect.findings', value: 20_000, unit: 'count' } as const

export interface Redacted {
  /** The bytes to forward; the very same object as came in when nothing was changed. */
  readonly body: Uint8Array
  readonly findings: readonly Finding[]
  /** Present where the body came in another form than UTF-8: the type that `body` now has. */
  readonly contentType?: string
}

export interface RedactionRequest {
  readonly mask: readonly string[]
  readonly block: readonly string[]
  /**
   * The account of an inspection that has to be short. Beyond it, `redact` throws `TooMuchWork`;
   * without one, a body that costs more than `inspect.steps` is refused.
   */
  readonly work?: InspectionWork
}

/**
 * Parses a body, finds what is sensitive and masks what the order names.
 *
 * JSON is parsed strictly (no duplicate keys, no `__proto__`, bounded depth, valid UTF-8) and
 * walked leaf by leaf; text is scanned whole. Gives MESSAGE_MALFORMED for what does not parse,
 * CONTENT_UNSUPPORTED for a media type that cannot be inspected, CONTENT_BLOCKED for a class in
 * `block`, MESSAGE_TOO_LARGE beyond the limits, UNDECIDED for an order with an unknown class. A
 * body is what its receiver will decode: text in a declared ISO-8859-1 or Windows-1252 leaves as
 * UTF-8, other charsets are refused, and so are control characters in text and forms. A stream's
 * events are handed over one by one. Masking what is masked already changes nothing. Linear in the
 * size of the body.
 */
export interface Redactor {
  redact(body: Uint8Array, contentType: string, order: RedactionRequest): Redacted | Refusal
}
