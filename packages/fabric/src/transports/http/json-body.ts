import { type JsonValue, OverLimitError, parseStrictJson, parseUtf8 } from '@countersign/protocol'
import { Refusal } from '../../lib/refusal.ts'
import { foldedName } from './folded-name.ts'
import { isRpcMessage } from './rpc-message.ts'

/** The media types that a receiver parses as JSON (RFC 8259, section 11; RFC 6839, section 3.1). */
const jsonType = /^(?:application|text)\/(?:json|[a-z0-9.+_-]+\+json)\b/i

export function isJsonType(contentType: string): boolean {
  return jsonType.test(contentType)
}

/** The value of a body that claims to be JSON, if every parser would read it alike. */
export function parseJsonBody(body: Uint8Array): JsonValue | Refusal {
  try {
    return parseStrictJson(parseUtf8(body))
  } catch (cause) {
    const code = cause instanceof OverLimitError ? 'MESSAGE_TOO_LARGE' : 'MESSAGE_MALFORMED'
    return new Refusal(code, String(cause))
  }
}

const asking: ReadonlySet<string> = new Set(['method', 'result', 'error'])

/**
 * Whether a body under another type is a JSON-RPC call after all. Many receivers parse whatever
 * comes; what they would carry out as a call must not be decided on as a piece of text.
 */
export function isDisguisedCall(body: Uint8Array): boolean {
  const text = new TextDecoder().decode(body).trimStart()
  if (!text.startsWith('{') && !text.startsWith('[')) return false
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // Nor can a receiver parse it.
    return false
  }
  return (Array.isArray(value) ? value : [value]).some(
    (one) => isRpcMessage(one) && Object.keys(one).some((name) => asking.has(foldedName(name))),
  )
}
