import { latin1 } from './ascii.ts'

/** Plain numbers of this length are still far inside a double's range. */
const plainBytesMax = 300

/**
 * The end of the number at `from` (RFC 8259, section 6), or -1 where there is none or it is beyond a
 * double (RFC 7493, section 2.2).
 */
export function jsonNumberEnd(bytes: Uint8Array, from: number): number {
  const integer = bytes[from] === 0x2d ? from + 1 : from
  let i = digitsEnd(bytes, integer)
  if (i === integer || (bytes[integer] === 0x30 && i > integer + 1)) return -1
  if (bytes[i] === 0x2e) {
    const fraction = i + 1
    i = digitsEnd(bytes, fraction)
    if (i === fraction) return -1
  }
  const hasExponent = bytes[i] === 0x65 || bytes[i] === 0x45
  if (hasExponent) {
    i++
    if (bytes[i] === 0x2b || bytes[i] === 0x2d) i++
    const exponent = i
    i = digitsEnd(bytes, exponent)
    if (i === exponent) return -1
  }
  if (!hasExponent && i - from < plainBytesMax) return i
  return Number.isFinite(Number(latin1(bytes, from, i))) ? i : -1
}

function digitsEnd(bytes: Uint8Array, from: number): number {
  let i = from
  while (i < bytes.length && (bytes[i] as number) >= 0x30 && (bytes[i] as number) <= 0x39) i++
  return i
}

/** More digits than any number that is looked for; an exponent can ask for a billion of them. */
const writtenDigitsMax = 64

/**
 * The whole part of the number as its receiver reads it, in digits without exponent; null where it
 * has none, or far too many. What is left of a fraction is not part of it.
 */
export function wholeDigits(text: string): string | null {
  const [, whole = '', fraction = '', power = '0'] =
    /^-?(\d+)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(text) ?? []
  const exponent = Number(power)
  const length = whole.length + exponent
  if (whole === '' || length <= 0 || length > writtenDigitsMax) return null
  const digits = `${whole}${fraction}`.slice(0, length).padEnd(length, '0')
  return digits.replace(/^0+(?=\d)/, '')
}

/** Whether the number between `from` and `to` is written without fraction and exponent. */
export function isPlainInteger(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const byte = bytes[i] as number
    if (byte === 0x2e || byte === 0x65 || byte === 0x45) return false
  }
  return true
}
