import {
  type JsonValue,
  OverLimitError,
  parseStrictJson,
  parseUtf8,
  STRICT_JSON_DEPTH_MAX,
} from '@countersign/protocol'
import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'
import { foldedName } from './folded-name.ts'
import { isRpcMessage } from './rpc-message.ts'

/** The media types that a receiver parses as JSON (RFC 8259, section 11; RFC 6839, section 3.1). */
const jsonType = /^(?:application|text)\/(?:json|[a-z0-9.+_-]+\+json)\b/i

export function isJsonType(contentType: string): boolean {
  return jsonType.test(contentType)
}

const depthLimit = { name: 'json.depth', value: STRICT_JSON_DEPTH_MAX, unit: 'count' } as const

/** The value of a body that claims to be JSON, if every parser would read it alike. */
export function parseJsonBody(body: Uint8Array): JsonValue | Refusal {
  try {
    return parseStrictJson(parseUtf8(body))
  } catch (cause) {
    if (!(cause instanceof OverLimitError)) return new Refusal('MESSAGE_MALFORMED', String(cause))
    // Bodies are bounded below the other limit of the parser, its characters.
    return overLimit('MESSAGE_TOO_LARGE', depthLimit, cause.message)
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
