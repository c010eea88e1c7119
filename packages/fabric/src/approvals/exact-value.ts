import { type JsonValue, parseStrictJson } from '@countersign/protocol'

/** A number with more digits than the double that it is read as. */
class ExactNumber {
  readonly value: number
  readonly decimal: string

  constructor(value: number, decimal: string) {
    this.value = value
    this.decimal = decimal
  }
}

/** The way to a value: names of members and positions in arrays. */
type Path = readonly (string | number)[]

/** JSON as every reader takes it: its value, and the numbers that a double does not hold. */
export interface ExactValue {
  readonly value: JsonValue
  /** The place of each such number, and its normal decimal form. */
  readonly exact: readonly (readonly [path: Path, decimal: string])[]
}

/**
 * Parses strict JSON for a digest. RFC 8785 writes numbers as doubles, so 9007199254740993 and
 * 9007199254740992 have one canonical form, and a receiver with longer integers acts differently on
 * each. Their digits are returned as well. Throws a MalformedError, as `parseStrictJson` does.
 */
export function parseExactJson(text: string): ExactValue {
  const value = parseStrictJson(text)
  const read: unknown = JSON.parse(text, reviveNumber)
  const exact: (readonly [Path, string])[] = []
  collect(read, [], exact)
  return { value, exact }
}

function reviveNumber(_: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number') return value
  const decimal = decimalOf(context?.source ?? '')
  // Negative zero has its own sign, which its canonical form lacks.
  return decimal === decimalOf(JSON.stringify(value)) ? value : new ExactNumber(value, decimal)
}

function collect(value: unknown, path: Path, exact: (readonly [Path, string])[]): void {
  if (value instanceof ExactNumber) exact.push([path, value.decimal])
  else if (Array.isArray(value)) {
    for (const [at, item] of value.entries()) collect(item, [...path, at], exact)
  } else if (typeof value === 'object' && value !== null) {
    // As the canonical form orders them: the digest does not depend on the order of members.
    const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
    for (const [name, item] of members) collect(item, [...path, name], exact)
  }
}

const literal = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/

/** `-12e-3` for every way to write it: no noughts at either end, a whole exponent. */
function decimalOf(source: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = literal.exec(source) ?? []
  const digits = (whole + fraction).replace(/^0+/, '')
  const kept = digits.replace(/0+$/, '')
  if (kept === '') return `${sign}0`
  const scale = BigInt(exponent) - BigInt(fraction.length) + BigInt(digits.length - kept.length)
  return `${sign}${kept}e${scale}`
}
