import { STEPS } from '../inspection-work.ts'
import { latin1 } from '../text/ascii.ts'
import { isInHexToken } from '../text/hex-token.ts'
import { wholeForms } from '../text/json-number.ts'
import type { Scan, Span, View } from '../text/view.ts'
import { CardDigits, cardDigitsMax, cardDigitsMin } from './card.ts'
import { hasContext } from './context.ts'
import {
  createChain,
  isDecimalSign,
  isDigit,
  isListSign,
  isPoint,
  readChain,
  sizeOf,
} from './digit-chain.ts'
import { scanIban } from './iban.ts'

/** Digits of other groups in the same row that a card in unusual groups may have next to it. */
const neighbourDigitsMax = 8
/** Groups of nothing but zeros before a number that do not count as next to it. */
const zeroGroupsMax = 16

const chain = createChain()
const digits = new CardDigits()
/** Start and end of everything found in the view at hand, in order; reused for every view. */
const claimed: number[] = []
/** Number of rows with a check digit that were examined in the current chain. */
let candidates = 0

/**
 * Reports card numbers and IBANs, and gives their starts and ends in order, valid until the next
 * call.
 *
 * A candidate is any row of whole groups of digits, at most four characters apart, that has an
 * issuer, a length and a check digit of a card. It counts by how the groups are written
 * (`isWritten`), never by what else stands in the text, so nothing next to it hides it. From each
 * group at most nineteen digits are read: the work is linear.
 */
export function scanCards(scan: Scan): readonly number[] {
  const { view } = scan
  const { bytes, to } = view
  claimed.length = 0
  let at = view.from
  for (;;) {
    while (at < to && !isDigit(bytes, at)) at++
    if (at >= to) return claimed
    scan.spend(STEPS.digitGroup)
    const iban = scanIban(scan, at)
    if (iban !== null) {
      claim(iban.start, iban.end)
      if (iban.isUsual) {
        at = iban.end
        continue
      }
    }
    at = readChain(chain, view, at)
    if (chain.digits >= cardDigitsMin) judgeChain(scan)
  }
}

/** Candidates that overlap are one finding, so that of neither a digit is left. */
function judgeChain(scan: Scan): void {
  let start = -1
  let end = -1
  const add = (found: Span | null): void => {
    if (found === null) return
    if (start >= 0 && found.start >= end) report(scan, start, end)
    if (start < 0 || found.start >= end) start = found.start
    end = Math.max(end, found.end)
  }
  let left = chain.digits
  let steps = 0
  candidates = 0
  for (let i = 0; left >= cardDigitsMin; i++) {
    const found = findFrom(scan, i)
    steps += STEPS.digitGroup + STEPS.cardDigit * digits.count
    add(found ?? findNumeral(scan, i))
    left -= sizeOf(chain, i)
  }
  scan.spend(steps + STEPS.cardCandidate * candidates)
  if (start >= 0) report(scan, start, end)
}

function report(scan: Scan, start: number, end: number): void {
  claim(start, end)
  scan.found({ dataClass: 'card', detector: 'card', start, end })
}

function claim(start: number, end: number): void {
  const last = claimed.length - 1
  if (last >= 0 && start < (claimed[last] as number)) {
    claimed[last] = Math.max(claimed[last] as number, end)
  } else claimed.push(start, end)
}

/** The longest card number that begins with group `i`, zeros before it aside. */
function findFrom(scan: Scan, i: number): Span | null {
  const { bytes } = scan.view
  const last = (chain.ends[i] as number) - 1
  let start = chain.starts[i] as number
  while (start < last && bytes[start] === 0x30) start++
  let found: Span | null = null
  digits.start()
  for (let j = i; j < chain.count; j++) {
    const from = j === i ? start : (chain.starts[j] as number)
    const end = chain.ends[j] as number
    if (digits.count + end - from > cardDigitsMax) break
    for (let k = from; k < end; k++) digits.add((bytes[k] as number) - 0x30)
    if (digits.count >= 4 && !digits.hasIssuer) break
    if (digits.count < cardDigitsMin || !digits.isCard) continue
    candidates++
    const zeros = start - (chain.starts[i] as number)
    const isPlain = digits.isUsual && isWritten(scan.view, { i, j, zeros })
    if (!isPlain && !hasContext(scan, start, 'card')) continue
    if (!isInHexToken(scan.view, { start, end })) found = { start, end }
  }
  return found
}

/** Groups `i` to `j`, the first without so many leading zeros. */
interface Row {
  readonly i: number
  readonly j: number
  readonly zeros: number
}

/** Reports whether the groups are written as one number, without a nearby context word. */
function isWritten(view: View, row: Row): boolean {
  const { i, j } = row
  if (i === j) return !isDecimalPart(view, i)
  return isCardLayout(row) || isParted(view, i, j)
}

/** IEEE 754: a double is written with at most so many digits, leading zeros aside. */
const doubleDigitsMax = 17

/**
 * Reports whether group `i` is the fraction of a double: every other long one would be a card by
 * chance.
 */
function isDecimalPart(view: View, i: number): boolean {
  if (!isPoint(chain, view, i)) return false
  const whole = isZero(view, i - 1) ? 0 : sizeOf(chain, i - 1)
  return whole + sizeOf(chain, i) <= doubleDigitsMax
}

/** Groups of four, 4-6-5 and 4-6-4. */
function isCardLayout({ i, j, zeros }: Row): boolean {
  if (sizeOf(chain, i) - zeros !== 4) return false
  if (j - i === 2 && sizeOf(chain, i + 1) === 6) return true
  for (let k = i + 1; k < j; k++) if (sizeOf(chain, k) !== 4) return false
  return sizeOf(chain, j) <= 4
}

/**
 * Reports whether the same sign separates all groups, or only single digits without a point or
 * comma. A list contains such a row at every other position. So where the row continues, only few
 * more digits may follow, and none between the signs of a list. Two groups with a point are a
 * decimal, and half a decimal does not count.
 */
function isParted(view: View, i: number, j: number): boolean {
  const sign = chain.signs[i + 1] as number
  let isSame = true
  let isSpelt = sizeOf(chain, i) === 1
  for (let k = i + 1; k <= j; k++) {
    if (chain.signs[k] !== sign) isSame = false
    if (sizeOf(chain, k) !== 1 || isDecimalSign(chain, view, k)) isSpelt = false
  }
  if (!isSame && !isSpelt) return false
  if (j === i + 1 && isDecimalSign(chain, view, j)) return false
  if (!isPoint(chain, view, i + 1)) {
    if (isPoint(chain, view, i)) return false
    if (isPoint(chain, view, j + 1) && !isThousands(i, j)) return false
  }
  const max = isListSign(chain, view, i + 1) ? 0 : neighbourDigitsMax
  return digitsBeside(view, { i, j, sign, max }) <= max
}

/** `4,111,111,111,111,111`, where decimals may follow. */
function isThousands(i: number, j: number): boolean {
  for (let k = i + 1; k <= j; k++) if (sizeOf(chain, k) !== 3) return false
  return sizeOf(chain, i) <= 3
}

/** Groups in one row, with the same sign between all of them. */
interface Parted {
  readonly i: number
  readonly j: number
  readonly sign: number
  readonly max: number
}

/**
 * Counts the digits of the row outside of groups `i` to `j`, except adjacent card numbers and zeros
 * before it; stops above `max`.
 */
function digitsBeside(view: View, { i, j, sign, max }: Parted): number {
  let count = 0
  let k = i
  let tries = 0
  for (let zeros = 0; k > 0 && zeros < zeroGroupsMax && isZero(view, k - 1); zeros++) {
    if (chain.signs[k] !== sign) break
    k--
  }
  while (k > 0 && chain.signs[k] === sign && count <= max) {
    const first = tries++ < besideTriesMax ? cardBefore(view, k - 1, sign) : -1
    if (first < 0) count += sizeOf(chain, k - 1)
    k = first < 0 ? k - 1 : first
  }
  tries = 0
  for (k = j + 1; k < chain.count && chain.signs[k] === sign && count <= max; k++) {
    const last = tries++ < besideTriesMax ? cardAfter(view, k, sign) : -1
    if (last < 0) count += sizeOf(chain, k)
    else k = last
  }
  return count
}

/**
 * Maximum number of searches for another card number on either side: bounds the work for each
 * candidate.
 */
const besideTriesMax = 4
const besideDigitsMax = 16
const beside = new CardDigits()

/** The last group of a card number that begins with group `k` of the row, or -1. */
function cardAfter({ bytes }: View, k: number, sign: number, to = chain.count - 1): number {
  let last = -1
  beside.start()
  for (let j = k; j <= to && (j === k || chain.signs[j] === sign); j++) {
    if (beside.count + sizeOf(chain, j) > besideDigitsMax) break
    const end = chain.ends[j] as number
    for (let at = chain.starts[j] as number; at < end; at++)
      beside.add((bytes[at] as number) - 0x30)
    if (beside.isUsual && beside.isCard) last = j
  }
  return last
}

/** The first group of a card number that ends with group `k` of the row, or -1. */
function cardBefore(view: View, k: number, sign: number): number {
  let count = 0
  for (let first = k; first >= 0; first--) {
    count += sizeOf(chain, first)
    if (count > besideDigitsMax) return -1
    if (cardAfter(view, first, sign, k) === k) return first
    if (chain.signs[first] !== sign) return -1
  }
  return -1
}

function isZero({ bytes }: View, k: number): boolean {
  const end = chain.ends[k] as number
  if (sizeOf(chain, k) > zeroGroupsMax) return false
  for (let i = chain.starts[k] as number; i < end; i++) if (bytes[i] !== 0x30) return false
  return true
}

/** Longer exponents belong to no number that is looked for. */
const exponentDigitsMax = 6

/**
 * Returns a number with a fraction or an exponent whose whole part begins with group `i`. A reader
 * that parses it as a number, such as a JSON reader, would obtain a card number.
 */
function findNumeral(scan: Scan, i: number): Span | null {
  const { view } = scan
  const start = chain.starts[i] as number
  const size = sizeOf(chain, i)
  const written = i + 1 < chain.count ? size + sizeOf(chain, i + 1) : size
  if (written < cardDigitsMin || isPoint(chain, view, i)) return null
  const hasFraction = isPoint(chain, view, i + 1)
  const mantissaEnd = chain.ends[hasFraction ? i + 1 : i] as number
  const end = exponentEnd(view, mantissaEnd)
  if (end === mantissaEnd && (!hasFraction || size < cardDigitsMin)) return null
  candidates++
  for (const form of wholeForms(latin1(view.bytes, start, end))) {
    if (!isCardNumber(form)) continue
    if (!digits.isUsual && !hasContext(scan, start, 'card')) continue
    if (!isInHexToken(view, { start, end })) return { start, end }
  }
  return null
}

function exponentEnd({ bytes, to }: View, from: number): number {
  if (from >= to || ((bytes[from] as number) | 0x20) !== 0x65) return from
  const sign = bytes[from + 1]
  const first = sign === 0x2b || sign === 0x2d ? from + 2 : from + 1
  let end = first
  while (end < to && end - first <= exponentDigitsMax && isDigit(bytes, end)) end++
  return end === first || end - first > exponentDigitsMax ? from : end
}

function isCardNumber(text: string): boolean {
  if (text.length > cardDigitsMax) return false
  digits.start()
  for (let i = 0; i < text.length; i++) digits.add(text.charCodeAt(i) - 0x30)
  return digits.isCard
}
