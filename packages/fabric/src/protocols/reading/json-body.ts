import {
  type JsonValue,
  OverLimitError,
  parseStrictJson,
  parseUtf8,
  STRICT_JSON_DEPTH_MAX,
  STRICT_JSON_DIGITS_MAX,
  STRICT_JSON_NAMES_MAX,
  STRICT_JSON_VALUES_MAX,
  type StrictJsonLimits,
} from '@countersign/protocol'
import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'

const depthLimit = { name: 'json.depth', value: STRICT_JSON_DEPTH_MAX, unit: 'count' } as const
const bounds = {
  names: { name: 'json.names', value: STRICT_JSON_NAMES_MAX, unit: 'count' },
  values: { name: 'json.values', value: STRICT_JSON_VALUES_MAX, unit: 'count' },
  digits: { name: 'json.digits', value: STRICT_JSON_DIGITS_MAX, unit: 'count' },
} as const

/**
 * For requests to the fabric itself, which are parsed on the event loop: several times what 256
 * entries of a connector take, and a few tens of milliseconds at worst.
 */
export const CONTROL_JSON_LIMITS = { namesMax: 20_000, valuesMax: 50_000 } as const

function given(
  bound: 'names' | 'values' | 'digits',
  { namesMax, valuesMax }: StrictJsonLimits = {},
): { readonly value?: number } {
  const value = { names: namesMax, values: valuesMax, digits: undefined }[bound]
  return value === undefined ? {} : { value }
}

/** The value of a body that claims to be JSON, if every parser would read it alike. */
export function parseJsonBody(body: Uint8Array, limits?: StrictJsonLimits): JsonValue | Refusal {
  try {
    return parseStrictJson(parseUtf8(body), limits)
  } catch (cause) {
    if (!(cause instanceof OverLimitError)) return new Refusal('MESSAGE_MALFORMED', String(cause))
    const bound =
      cause.bound === null ? depthLimit : { ...bounds[cause.bound], ...given(cause.bound, limits) }
    return overLimit('MESSAGE_TOO_LARGE', bound, cause.message)
  }
}
