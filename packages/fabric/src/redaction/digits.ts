import { isLeftEdge, KIND, LETTER } from './ascii.ts'
import { CardDigits, cardDigitsMax, cardDigitsMin } from './card.ts'
import { hasContext } from './context.ts'
import {
  DIGIT_BYTE,
  type DigitRun,
  digitsMin,
  GAP,
  GAP_BYTE,
  type Gap,
  groupSize,
  LETTER_BYTE,
  NUMBER_KIND,
} from './digit-run.ts'
import { scanIban } from './iban.ts'
import { findPhone } from './phone.ts'
import { findSsn } from './ssn.ts'
import type { Scan } from './view.ts'

/** `) - ` is the longest thing that people write between two parts of one number. */
const gapBytesMax = 4

/**
 * The run that is being looked at. One for the process, because making one for every number would
 * cost more than looking at it; nothing is kept in it from one call to the next.
 */
const run: DigitRun = { starts: [], ends: [], gaps: [], count: 0 }
/** A longer run gives its memory back. */
const groupsKeptMax = 1024

/**
 * Finds cards, IBANs, social security numbers and telephone numbers in the view.
 *
 * Runs of groups are read once, left to right. From each group at most 19 digits are tried as a card,
 * and what remains between cards is tried as the others, as if the cards were cut out already: so a
 * second pass over the masked text finds nothing new.
 */
export function scanDigits(scan: Scan): void {
  const { bytes, from, to } = scan.view
  let first = -1
  let last = -1
  let digits = 0
  for (let i = from; i < to; i++) {
    const kind = NUMBER_KIND[bytes[i] as number] as number
    if (kind === DIGIT_BYTE) {
      if (first < 0) {
        if (i - 2 >= from && NUMBER_KIND[bytes[i - 1] as number] === LETTER_BYTE) {
          const end = scanIban(scan, i)
          if (end > 0) {
            i = end - 1
            continue
          }
        }
        first = i
        digits = 0
      }
      last = i
      digits++
    } else if (first >= 0 && (kind !== GAP_BYTE || i - last > gapBytesMax)) {
      if (digits >= digitsMin) classify(scan, { first, end: last + 1, digits })
      first = -1
    }
  }
  if (first >= 0 && digits >= digitsMin) classify(scan, { first, end: last + 1, digits })
}

function readRun(scan: Scan, range: { first: number; end: number }): void {
  const { bytes } = scan.view
  if (run.starts.length > groupsKeptMax) run.starts.length = run.ends.length = run.gaps.length = 0
  run.count = 0
  let at = range.first
  let gap: Gap = GAP.edge
  for (;;) {
    let end = at
    while (end < range.end && NUMBER_KIND[bytes[end] as number] === DIGIT_BYTE) end++
    run.starts[run.count] = at
    run.ends[run.count] = end
    run.gaps[run.count++] = gap
    if (end >= range.end) return
    at = end
    while (NUMBER_KIND[bytes[at] as number] !== DIGIT_BYTE) at++
    gap = kindOfGap(bytes, end, at)
  }
}

function kindOfGap(bytes: Uint8Array, from: number, to: number): Gap {
  if (to - from !== 1) return GAP.other
  const byte = bytes[from]
  if (byte === 0x20) return GAP.space
  if (byte === 0x2d) return GAP.hyphen
  return byte === 0x2e ? GAP.dot : GAP.other
}

function classify(scan: Scan, range: { first: number; end: number; digits: number }): void {
  readRun(scan, range)
  let rest = 0
  for (let i = 0; i < run.count && range.digits >= cardDigitsMin; i++) {
    const last = findCard(scan, i)
    if (last < 0) continue
    classifyRest(scan, { from: rest, to: i })
    const start = run.starts[i] as number
    scan.found({ dataClass: 'card', detector: 'card', start, end: run.ends[last] as number })
    rest = last + 1
    i = last
  }
  classifyRest(scan, { from: rest, to: run.count })
}

/** Social security and telephone numbers among the groups from `from` up to `to`. */
function classifyRest(scan: Scan, range: { from: number; to: number }): void {
  let from = range.from
  let at = from
  while (at < range.to) {
    const candidate = { at, from, to: range.to }
    const ssn = findSsn(scan, run, candidate)
    const last = ssn >= 0 ? ssn : findPhone(scan, run, candidate)
    if (last < 0) {
      at++
      continue
    }
    const dataClass = ssn >= 0 ? 'ssn' : 'phone'
    const digit = run.starts[at] as number
    const start = ssn >= 0 ? digit : phoneStart(scan, digit)
    scan.found({ dataClass, detector: dataClass, start, end: run.ends[last] as number })
    at = from = last + 1
  }
}

/** A telephone number begins at its `+` or opening parenthesis. */
function phoneStart(scan: Scan, digit: number): number {
  const { bytes, from } = scan.view
  let at = digit
  if (at > from && bytes[at - 1] === 0x28) at--
  if (at > from && bytes[at - 1] === 0x2b) at--
  return at
}

const digits = new CardDigits()

/** The last group of a card number that begins with group `i`, or -1. The longest one wins. */
function findCard(scan: Scan, i: number): number {
  const { bytes, from } = scan.view
  const start = run.starts[i] as number
  if (run.gaps[i] === GAP.dot || (i === 0 && !isLeftEdge(bytes, from, start))) return -1
  let found = -1
  digits.start()
  for (let j = i; j < run.count; j++) {
    if (digits.count + groupSize(run, j) > cardDigitsMax) break
    const end = run.ends[j] as number
    for (let k = run.starts[j] as number; k < end; k++) digits.add((bytes[k] as number) - 0x30)
    if (digits.count >= 4 && !digits.hasIssuer) break
    if (digits.count < cardDigitsMin || !digits.isCard || !endsCleanly(scan, i, j)) continue
    const isPlain = digits.isUsual && isCardLayout(i, j)
    if (isPlain || hasContext(scan, start, 'card')) found = j
  }
  return found
}

/** Whether group `j` ends a number: no letter touches it, and no hyphen or decimals carry it on. */
function endsCleanly(scan: Scan, i: number, j: number): boolean {
  const { bytes, to } = scan.view
  const end = run.ends[j] as number
  if (j + 1 < run.count) {
    const following = run.gaps[j + 1]
    if (following === GAP.dot) return false
    return !(following === GAP.hyphen && j > i && run.gaps[j] === GAP.hyphen)
  }
  return end >= to || ((KIND[bytes[end] as number] as number) & LETTER) === 0
}

/**
 * Layouts that cards are written in: one group, groups of four, 4-6-5 and 4-6-4, or digit by digit,
 * which is how they are written to get past a filter.
 */
function isCardLayout(i: number, j: number): boolean {
  const count = j - i + 1
  let fours = true
  let ones = true
  for (let k = i; k <= j; k++) {
    const size = groupSize(run, k)
    if (k > i && run.gaps[k] === GAP.other) return false
    if (size !== 1) ones = false
    if (size !== 4 && (k < j || size > 4)) fours = false
  }
  if (count === 1 || ones) return true
  const dotted = run.gaps[j] === GAP.dot
  if (fours) return true
  return !dotted && count === 3 && groupSize(run, i) === 4 && groupSize(run, i + 1) === 6
}
