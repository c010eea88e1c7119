import type { SignedMessage } from '@countersign/protocol'
import { overLimit } from '../lib/limits.ts'
import { Refusal } from '../lib/refusal.ts'
import {
  type Finding,
  findingsLimit,
  type RedactionRequest,
  type Redactor,
} from '../redaction/redactor.ts'
import {
  type Fields,
  inspectFields,
  inspectMediaType,
  inspectPath,
  inspectSignature,
  maskFrame,
  withContentType,
} from './inspect-fields.ts'

/** Everything of one message, or of one event, that its sender chose freely. */
export interface Parts {
  readonly path: string | null
  readonly signature: Pick<SignedMessage, 'components' | 'nonce'> | null
  /** Fields in which something is found are left out. */
  readonly fields: Fields
  /** The frame of an event, whose values are masked. */
  readonly frame: Fields
  /** Null for a head whose body is a stream. */
  readonly body: Uint8Array | null
  readonly contentType: string
}

export interface InspectedParts {
  readonly fields: Fields
  readonly frame: Fields
  /** The very same object as came in when nothing was changed. */
  readonly body: Uint8Array | null
  readonly findings: readonly Finding[]
}

/** The parts that most messages do not have. */
export const noParts: Parts = {
  path: null,
  signature: null,
  fields: [],
  frame: [],
  body: null,
  contentType: '',
}

/** Inspects all of the parts on one account: `order.work` bounds what they cost together. */
export function inspectParts(
  parts: Parts,
  order: RedactionRequest,
  redactor: Redactor,
): InspectedParts | Refusal {
  const { path, signature, body } = parts
  const inPath = path === null ? null : inspectPath(path, order, redactor)
  if (inPath !== null) return inPath
  const inSignature = signature === null ? null : inspectSignature(signature, order, redactor)
  if (inSignature !== null) return new Refusal('CONTENT_BLOCKED', inSignature)
  const head = inspectFields(parts.fields, order, redactor)
  const inType = head.findings.length === 0 ? null : inspectMediaType(head.fields, order, redactor)
  if (inType !== null) return inType
  const redacted = body === null ? null : redactor.redact(body, parts.contentType, order)
  if (redacted instanceof Refusal) return redacted
  const framed = maskFrame(parts.frame, order, redactor)
  if (framed instanceof Refusal) return framed
  const findings = [...head.findings, ...(redacted?.findings ?? []), ...framed.findings]
  // Each part has that bound as well; what is found in all of them is gone through at once.
  if (findings.length > findingsLimit.value) return overLimit('MESSAGE_TOO_LARGE', findingsLimit)
  return {
    fields: withContentType(head.fields, redacted?.contentType),
    frame: framed.fields,
    body: redacted?.body ?? null,
    findings,
  }
}

/** Bytes to inspect, nearly: fields and paths are ASCII wherever they pass. */
export function sizeOfParts({ path, signature, fields, frame, body }: Parts): number {
  let size = (path?.length ?? 0) + (body?.length ?? 0) + (signature?.nonce?.length ?? 0)
  for (const [name, value] of fields) size += name.length + value.length
  for (const [name, value] of frame) size += name.length + value.length
  for (const component of signature?.components ?? []) size += component.length
  return size
}
