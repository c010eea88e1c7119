/** The JSON data model, as `parseStrictJson` gives it. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue }

/** Deeper than any document we sign; a cycle ends here instead of in the stack. */
const depthMax = 64

/**
 * The canonical form of RFC 8785 (JCS): no white space, members in the order of their UTF-16 code
 * units, numbers and strings as ECMAScript writes them. Throws a TypeError on what I-JSON cannot
 * hold: non-finite numbers, lone surrogates, undefined and other foreign values.
 */
export function canonicalJson(value: JsonValue): string {
  return write(value, depthMax)
}

function write(value: JsonValue, depth: number): string {
  if (depth < 0) throw new TypeError('JSON nests deeper than its limit')
  if (typeof value === 'string') return quoted(value)
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError('JSON has no such number')
    return JSON.stringify(value)
  }
  if (value === null || typeof value === 'boolean') return String(value)
  if (isArray(value)) return `[${value.map((item) => write(item, depth - 1)).join(',')}]`
  if (typeof value !== 'object') throw new TypeError('not a JSON value')
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) throw new TypeError('not a JSON value')
  const members = Object.keys(value)
    // The default order of `sort` is that of UTF-16 code units, as RFC 8785, section 3.2.3 asks.
    .sort()
    .map((key) => `${quoted(key)}:${write(member(value, key), depth - 1)}`)
  return `{${members.join(',')}}`
}

function member(value: { readonly [key: string]: JsonValue }, key: string): JsonValue {
  const found = value[key]
  if (found === undefined) throw new TypeError('not a JSON value')
  return found
}

function quoted(text: string): string {
  if (!text.isWellFormed()) throw new TypeError('JSON text is well-formed Unicode')
  return JSON.stringify(text)
}

function isArray(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value)
}
