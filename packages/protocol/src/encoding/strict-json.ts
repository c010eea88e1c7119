import type { JsonValue } from './canonical.ts'
import { MalformedError, OverLimitError } from './malformed-error.ts'

export interface StrictJsonLimits {
  /** Arrays and objects inside one another; a scalar has depth 0. */
  readonly depthMax?: number
  readonly charactersMax?: number
  /** Members of all objects together. */
  readonly namesMax?: number
  /** Commas, arrays and objects, so about the number of values. */
  readonly valuesMax?: number
}

/**
 * The time that an engine spends on JSON follows the number of names and values, not of bytes: 2.9
 * MB of short distinct names take seconds, the same bytes in one string a few milliseconds.
 */
export const STRICT_JSON_NAMES_MAX = 200_000
export const STRICT_JSON_VALUES_MAX = 500_000
/** In one row: a number that a double can distinguish needs at most 800 or so. */
export const STRICT_JSON_DIGITS_MAX = 1_024

/** A2A and MCP messages nest less than twenty deep. */
export const STRICT_JSON_DEPTH_MAX = 64
const charactersMaxDefault = 16 * 1024 * 1024

const quote = 0x22
const backslash = 0x5c
const colon = 0x3a
const comma = 0x2c
/** `[` and `]`, with the bit set that makes `{` and `}` of them. */
const opening = 0x7b
const closing = 0x7d
const bracketBit = 0x20
const zero = 0x30
const nine = 0x39

/**
 * Parses JSON of which every parser in the path of a message makes the same: no duplicate member,
 * no `__proto__` member, no lone surrogate, no number beyond a double, bounded depth (RFC 7493).
 * Throws a MalformedError, beyond a limit an OverLimitError. Linear in the text.
 *
 * JSON.parse keeps one of two equal members. So there are no duplicates exactly when the text has
 * as many colons outside of strings as the result has members: two fast passes, and no parser of
 * our own that could disagree with the engine's.
 */
export function parseStrictJson(text: string, limits: StrictJsonLimits = {}): JsonValue {
  if (text.length > (limits.charactersMax ?? charactersMaxDefault)) {
    throw new OverLimitError('JSON is larger than its limit')
  }
  if (!text.isWellFormed()) throw new MalformedError('JSON with a lone surrogate')
  const colons = countColons(text, limits)
  const value = parse(text)
  // Only an escape can put a lone surrogate into well-formed text.
  const walk = new Walk(text.includes('\\u'))
  walk.visit(value, limits.depthMax ?? STRICT_JSON_DEPTH_MAX)
  if (walk.members !== colons) throw new MalformedError('JSON with a duplicate member')
  return value
}

function parse(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue
  } catch {
    throw new MalformedError('not JSON')
  }
}

class Walk {
  readonly #escaped: boolean
  members = 0

  constructor(escaped: boolean) {
    this.#escaped = escaped
  }

  visit(value: JsonValue, depth: number): void {
    if (typeof value === 'string') {
      if (this.#escaped) checkWellFormed(value)
      return
    }
    if (typeof value === 'number') {
      if (!Number.isFinite(value)) throw new MalformedError('JSON number out of range')
      return
    }
    if (value === null || typeof value === 'boolean') return
    if (depth <= 0) throw new OverLimitError('JSON nests deeper than its limit')
    if (Array.isArray(value)) {
      for (let i = 0; i < value.length; i++) this.visit(value[i] as JsonValue, depth - 1)
      return
    }
    const object = value as { readonly [key: string]: JsonValue }
    for (const key in object) {
      if (key === '__proto__') throw new MalformedError('JSON with a __proto__ member')
      if (this.#escaped) checkWellFormed(key)
      this.members++
      this.visit(object[key] as JsonValue, depth - 1)
    }
  }
}

function checkWellFormed(text: string): void {
  if (!text.isWellFormed()) throw new MalformedError('JSON with a lone surrogate')
}

/**
 * Counts the colons outside of strings, which in valid JSON only ever end a member's name, and
 * holds the bounds on names, values, depth and digits before the engine builds anything.
 */
function countColons(text: string, limits: StrictJsonLimits): number {
  const namesMax = limits.namesMax ?? STRICT_JSON_NAMES_MAX
  const valuesMax = limits.valuesMax ?? STRICT_JSON_VALUES_MAX
  const depthMax = limits.depthMax ?? STRICT_JSON_DEPTH_MAX
  let [colons, values, digits, depth] = [0, 0, 0, 0]
  const length = text.length
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i)
    if (code >= zero && code <= nine) {
      if (++digits > STRICT_JSON_DIGITS_MAX)
        throw new OverLimitError('JSON with a number too long', 'digits')
      continue
    }
    digits = 0
    if (code === colon) colons++
    else if (code === comma) values++
    else if (code === quote) {
      for (i++; i < length; i++) {
        const inside = text.charCodeAt(i)
        if (inside === quote) break
        if (inside === backslash) i++
      }
    } else if ((code | bracketBit) === opening) {
      // Neither a name nor a comma: sixty arrays inside one another cost as much as sixty values.
      values++
      if (++depth > depthMax) throw new OverLimitError('JSON nests deeper than its limit')
    } else if ((code | bracketBit) === closing) depth--
    if (colons > namesMax)
      throw new OverLimitError('JSON with more members than its limit', 'names')
    if (values > valuesMax)
      throw new OverLimitError('JSON with more values than its limit', 'values')
  }
  return colons
}
