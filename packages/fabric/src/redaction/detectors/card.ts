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

/**
 * Takes the digits of a possible card number one by one, and reports after each whether the digits
 * so far form one: issuer, length and check digit agree. One step costs the same after any digits,
 * so trying every start of a long row of digits stays linear.
 */
export class CardDigits {
  count = 0
  #head = 0
  #first = 0
  #uniform = true
  /** Sums with every second digit doubled, for an even and for an odd number of digits in all. */
  #evenSum = 0
  #oddSum = 0

  start(): void {
    this.count = this.#head = this.#evenSum = this.#oddSum = 0
    this.#uniform = true
  }

  add(digit: number): void {
    if (this.count === 0) this.#first = digit
    else if (digit !== this.#first) this.#uniform = false
    if (this.count < 4) this.#head = this.#head * 10 + digit
    const doubled = digit > 4 ? digit * 2 - 9 : digit * 2
    const isEvenPlace = (this.count & 1) === 0
    this.#evenSum += isEvenPlace ? doubled : digit
    this.#oddSum += isEvenPlace ? digit : doubled
    this.count++
  }

  /** True if any issuer starts like this; read after the fourth digit. */
  get hasIssuer(): boolean {
    return LENGTHS[this.#head] !== 0
  }

  /** ISO/IEC 7812-1, annex B (Luhn). One digit over and over is a placeholder. */
  get isCard(): boolean {
    if ((((LENGTHS[this.#head] as number) >> this.count) & 1) === 0 || this.#uniform) return false
    return ((this.count & 1) === 0 ? this.#evenSum : this.#oddSum) % 10 === 0
  }

  /**
   * True for the common lengths. The others collide with order and message numbers, so a bare one
   * needs a nearby word such as "card".
   */
  get isUsual(): boolean {
    return this.count >= 14 && this.count <= 16
  }
}
