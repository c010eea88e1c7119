import type { Scan } from '../text/view.ts'
import { hasContext } from './context.ts'
import {
  type Candidate,
  type DigitRun,
  GAP,
  groupSize,
  isFreeEnd,
  isFreeStart,
  leadingDigits,
} from './digit-run.ts'

/** ITU-T E.164, section 6: country code and national number together have at most 15 digits. */
const digitsMax = 15
const digitsMin = 8
/** Numbers this short are telephone numbers only if a nearby word identifies them. */
const digitsMinInContext = 7
const zero = 0x30
const one = 0x31

/**
 * First two digits of the country calling codes (ITU-T E.164.D) other than `1` and `7`, which stand
 * alone: of two digits, and of three.
 */
const CODES = new Set(
  '20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98 21 22 23 24 25 26 29 35 37 38 42 50 59 67 68 69 80 85 87 88 96 97 99'
    .split(' ')
    .map(Number),
)

/**
 * The last group of a telephone number that begins with group `at`, or -1.
 *
 * Only shapes that hardly anything else has are taken by themselves: `+` or `00` with a country
 * code, the North American 3-3-4 with hyphens, dots or parentheses, and the French five pairs.
 * Everything else needs a word next to it, or a field's name, that identifies it.
 */
export function findPhone(scan: Scan, run: DigitRun, candidate: Candidate): number {
  if (!isFreeStart(scan, run, candidate.at)) return -1
  const last = findShape(scan, run, candidate)
  return last >= 0 && isFreeEnd(scan, run, last) ? last : -1
}

function findShape(scan: Scan, run: DigitRun, candidate: Candidate): number {
  const i = candidate.at
  const start = run.starts[i] as number
  if (hasPlus(scan, start)) return findInternational(scan, run, candidate)
  const northAmerican = findNorthAmerican(scan, run, candidate)
  if (northAmerican >= 0) return northAmerican
  if (scan.view.bytes[start] === zero) {
    if (isPairs(scan, run, candidate)) return i + 4
    const dialled = findDialledInternational(scan, run, candidate)
    if (dialled >= 0) return dialled
  }
  return findInContext(scan, run, candidate)
}

/** `00` in place of the `+`, in more than one group. */
function findDialledInternational(scan: Scan, run: DigitRun, candidate: Candidate): number {
  const i = candidate.at
  const { bytes } = scan.view
  const start = run.starts[i] as number
  if (groupSize(run, i) < 3 || bytes[start + 1] !== zero || bytes[start + 2] === zero) return -1
  const code = leadingDigits(scan, run, i, 4)
  if (!isCountryCode(code >= 10 ? code : code * 10)) return -1
  const last = lastGroup(run, candidate, digitsMax + 2)
  return last > i && digitsBetween(run, i, last) >= digitsMin + 2 ? last : -1
}

/** `+` before the number, with a space or a parenthesis between them. */
function hasPlus(scan: Scan, start: number): boolean {
  const { bytes, from } = scan.view
  const before = bytes[start - 1]
  if (start > from && before === 0x2b) return true
  const mayStandBetween = before === 0x28 || before === 0x20
  return start > from + 1 && mayStandBetween && bytes[start - 2] === 0x2b
}

function findInternational(scan: Scan, run: DigitRun, candidate: Candidate): number {
  const i = candidate.at
  const size = groupSize(run, i)
  const head = leadingDigits(scan, run, i, 2)
  const following = i + 1 < candidate.to ? leadingDigits(scan, run, i + 1, 1) : 0
  if (!isCountryCode(size > 1 ? head : head * 10 + following)) return -1
  // North American numbers have exactly eleven digits, so a number that follows is not swallowed.
  const isNorthAmerican = scan.view.bytes[run.starts[i] as number] === one
  const last = lastGroup(run, candidate, isNorthAmerican ? 11 : digitsMax)
  const count = last < 0 ? 0 : digitsBetween(run, i, last)
  return count >= (isNorthAmerican ? 11 : digitsMin) ? last : -1
}

function isCountryCode(firstTwo: number): boolean {
  const first = Math.floor(firstTwo / 10)
  return first === 1 || first === 7 || CODES.has(firstTwo)
}

/**
 * `[1] NXX NXX XXXX`: neither area nor exchange begins with 0 or 1, and the area is not a service
 * code (NANP).
 */
function findNorthAmerican(scan: Scan, run: DigitRun, candidate: Candidate): number {
  let i = candidate.at
  const trunk = groupSize(run, i) === 1 && scan.view.bytes[run.starts[i] as number] === one
  if (trunk) i++
  if (i + 2 >= candidate.to) return -1
  if (groupSize(run, i) !== 3 || groupSize(run, i + 1) !== 3 || groupSize(run, i + 2) !== 4) {
    return -1
  }
  const area = leadingDigits(scan, run, i, 3)
  if (area < 200 || area % 100 === 11 || leadingDigits(scan, run, i + 1, 3) < 200) return -1
  const start = run.starts[candidate.at] as number
  const spaced = run.gaps[i + 1] === GAP.space && run.gaps[i + 2] === GAP.space
  const parted =
    run.gaps[i + 2] !== GAP.other &&
    (run.gaps[i + 1] !== GAP.other || isInParentheses(scan, run, i))
  const tight = run.gaps[i + 1]
  // Nothing goes on with the parenthesis of an area.
  const continues =
    tight !== GAP.other &&
    ((candidate.at > candidate.from && run.gaps[candidate.at] === tight) ||
      (i + 3 < candidate.to && run.gaps[i + 3] === tight))
  if (parted && !continues && (!spaced || trunk)) return i + 2
  return hasContext(scan, start, 'phone') ? i + 2 : -1
}

function isInParentheses(scan: Scan, run: DigitRun, i: number): boolean {
  const { bytes } = scan.view
  return bytes[(run.starts[i] as number) - 1] === 0x28 && bytes[run.ends[i] as number] === 0x29
}

/** `0d dd dd dd dd`, all parted alike. */
function isPairs(scan: Scan, run: DigitRun, candidate: Candidate): boolean {
  const i = candidate.at
  if (i + 4 >= candidate.to || groupSize(run, i) !== 2 || leadingDigits(scan, run, i, 2) === 0)
    return false
  const gap = run.gaps[i + 1]
  for (let k = i + 1; k <= i + 4; k++) {
    if (groupSize(run, k) !== 2 || run.gaps[k] !== gap) return false
  }
  const continues = i + 5 < candidate.to && run.gaps[i + 5] === gap
  return gap !== GAP.other && !continues && !(i > candidate.from && run.gaps[i] === gap)
}

function findInContext(scan: Scan, run: DigitRun, candidate: Candidate): number {
  // Asked first: most text has no such word at all, and then nothing needs to be counted.
  if (!hasContext(scan, run.starts[candidate.at] as number, 'phone')) return -1
  const last = lastGroup(run, candidate, digitsMax)
  if (last < 0 || digitsBetween(run, candidate.at, last) < digitsMinInContext) return -1
  return isDate(scan, run, candidate.at, last) ? -1 : last
}

/** `2024-01-15` and `15.01.2024`, which stand next to telephone numbers in every contact record. */
function isDate(scan: Scan, run: DigitRun, i: number, last: number): boolean {
  if (last - i < 2) return false
  const [first, second, third] = [i, i + 1, i + 2].map((k) => leadingDigits(scan, run, k, 4))
  const isYear = (year = 0): boolean => year >= 1900 && year < 2100
  if (second === undefined || second < 1 || second > 12) return false
  return (isYear(first) && (third ?? 99) <= 31) || (isYear(third) && (first ?? 99) <= 31)
}

/** The last group that still fits into `max` digits, or -1 when the first one alone is too long. */
function lastGroup(run: DigitRun, candidate: Candidate, max: number): number {
  let digits = 0
  let last = -1
  for (let k = candidate.at; k < candidate.to; k++) {
    digits += groupSize(run, k)
    if (digits > max) break
    last = k
  }
  return last
}

function digitsBetween(run: DigitRun, i: number, last: number): number {
  let digits = 0
  for (let k = i; k <= last; k++) digits += groupSize(run, k)
  return digits
}
