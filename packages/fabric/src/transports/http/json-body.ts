import {
  type JsonValue,
  OverLimitError,
  parseStrictJson,
  parseUtf8,
  STRICT_JSON_DEPTH_MAX,
} from '@countersign/protocol'
import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'

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
