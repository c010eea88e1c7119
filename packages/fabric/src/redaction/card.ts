/**
 * Issuer ranges and lengths (ISO/IEC 7812-1; ranges as the schemes publish them). `from` and `to`
 * are compared with as many leading digits as they have.
 */
const ISSUERS: readonly { from: number; to: number; lengths: readonly number[] }[] = [
  { from: 4, to: 4, lengths: [13, 16, 19] },
  { from: 51, to: 55, lengths: [16] },
  { from: 2221, to: 2720, lengths: [16] },
  { from: 34, to: 34, lengths: [15] },
  { from: 37, to: 37, lengths: [15] },
  { from: 6011, to: 6011, lengths: [16, 17, 18, 19] },
  { from: 644, to: 649, lengths: [16, 17, 18, 19] },
  { from: 65, to: 65, lengths: [16, 17, 18, 19] },
  { from: 300, to: 305, lengths: [14, 16, 17, 18, 19] },
  { from: 36, to: 36, lengths: [14, 15, 16, 17, 18, 19] },
  { from: 38, to: 39, lengths: [14, 16, 17, 18, 19] },
  { from: 3528, to: 3589, lengths: [16, 17, 18, 19] },
  { from: 62, to: 62, lengths: [16, 17, 18, 19] },
  { from: 60, to: 60, lengths: [16] },
  { from: 81, to: 82, lengths: [16] },
  { from: 508, to: 508, lengths: [16] },
  { from: 2200, to: 2204, lengths: [16, 17, 18, 19] },
  { from: 9792, to: 9792, lengths: [16] },
  { from: 50, to: 50, lengths: [12, 13, 14, 15, 16, 17, 18, 19] },
  { from: 56, to: 58, lengths: [12, 13, 14, 15, 16, 17, 18, 19] },
  { from: 63, to: 63, lengths: [12, 13, 14, 15, 16, 17, 18, 19] },
  { from: 67, to: 67, lengths: [12, 13, 14, 15, 16, 17, 18, 19] },
]

export const cardDigitsMin = 12
export const cardDigitsMax = 19

/**
 * Whether `digits` could be a card number: issuer, length and check digit agree. `usual` is true for
 * the lengths that people meet (14 to 16); the others collide with order and message numbers, so a
 * bare one needs a word beside it that says "card".
 */
export function judgeCard(digits: readonly number[]): { valid: boolean; usual: boolean } {
  const count = digits.length
  const usual = count >= 14 && count <= 16
  return { valid: hasIssuer(digits) && luhn(digits) && !isUniform(digits), usual }
}

/** Accepted lengths by the first four digits, one bit per length. */
const LENGTHS: Int32Array = buildLengths()

function buildLengths(): Int32Array {
  const lengths = new Int32Array(10_000)
  for (const issuer of ISSUERS) {
    const scale = 10 ** (4 - String(issuer.from).length)
    const bits = issuer.lengths.reduce((sum, length) => sum | (1 << length), 0)
    for (let i = issuer.from * scale; i < (issuer.to + 1) * scale; i++) {
      lengths[i] = (lengths[i] as number) | bits
    }
  }
  return lengths
}

function hasIssuer(digits: readonly number[]): boolean {
  const [a = 0, b = 0, c = 0, d = 0] = digits
  return (((LENGTHS[a * 1000 + b * 100 + c * 10 + d] as number) >> digits.length) & 1) === 1
}

/** ISO/IEC 7812-1, annex B. */
export function luhn(digits: readonly number[]): boolean {
  let sum = 0
  for (let i = digits.length - 1, double = false; i >= 0; i--, double = !double) {
    const digit = digits[i] as number
    if (!double) sum += digit
    else sum += digit > 4 ? digit * 2 - 9 : digit * 2
  }
  return sum % 10 === 0
}

/** One digit over and over is a placeholder. */
function isUniform(digits: readonly number[]): boolean {
  return digits.every((digit) => digit === digits[0])
}
