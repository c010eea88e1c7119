import { latin1 } from './ascii.ts'

/** Plain numbers of this length are still far inside a double's range. */
const plainBytesMax = 300

/**
 * The end of the number at `from` (RFC 8259, section 6), or -1 where there is none or it is beyond
 * a double (RFC 7493, section 2.2).
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
const wholeDigitsMax = 64
/** A double of so many digits is printed with an exponent. */
const printedMax = 1e21

/**
 * The whole parts that receivers make of a number, in digits without exponent: cut off or rounded,
 * as it is written or from the double nearest to it (RFC 8259, section 6). The sign is left out.
 * None where the number has no whole part, or far too long a one.
 */
export function wholeForms(text: string): readonly string[] {
  const [, whole = '', fraction = '', power = '0'] =
    /^-?(\d+)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(text) ?? []
  const written = `${whole}${fraction}`
  const digits = written.replace(/^0+/, '')
  const length = whole.length + Number(power) - (written.length - digits.length)
  if (digits === '' || !(length > 0) || length > wholeDigitsMax) return []
  const cut = digits.slice(0, length).padEnd(length, '0')
  // The digits before the point can be read off without counting.
  const forms = new Set([cut, whole.slice(-wholeDigitsMax).replace(/^0+(?=\d)/, '')])
  if (digits.charCodeAt(length) >= 0x35) forms.add(String(BigInt(cut) + 1n))
  const double = Math.abs(Number(text))
  if (double < printedMax) {
    forms.add(String(Math.trunc(double)))
    forms.add(String(Math.round(double)))
  }
  return [...forms]
}

/** Reports whether the number between `from` and `to` is written without fraction and exponent. */
export function isPlainInteger(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const byte = bytes[i] as number
    if (byte === 0x2e || byte === 0x65 || byte === 0x45) return false
  }
  return true
}
