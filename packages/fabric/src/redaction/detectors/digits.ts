import { STEPS } from '../inspection-work.ts'
import { isInHexToken } from '../text/hex-token.ts'
import type { Scan } from '../text/view.ts'
import {
  DIGIT_BYTE,
  type DigitRun,
  digitsMin,
  GAP,
  GAP_BYTE,
  type Gap,
  NUMBER_KIND,
} from './digit-run.ts'
import { findPhone } from './phone.ts'
import { findSsn } from './ssn.ts'

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
 * Finds social security numbers and telephone numbers in the view. `claimed` holds starts and ends
 * of what is a card number or an IBAN already: what remains between them is tried as if they were
 * cut out, so a second pass over the masked text finds nothing new. Runs of groups are read once,
 * left to right.
 */
export function scanDigits(scan: Scan, claimed: readonly number[]): void {
  const { bytes, from, to } = scan.view
  let first = -1
  let last = -1
  let digits = 0
  let claim = 0
  let nextClaim = claimed[0] ?? -1
  for (let i = from; i < to; i++) {
    if (i === nextClaim) {
      if (first >= 0 && digits >= digitsMin) classify(scan, { first, end: last + 1 })
      first = -1
      i = (claimed[claim + 1] as number) - 1
      claim += 2
      nextClaim = claimed[claim] ?? -1
      continue
    }
    const kind = NUMBER_KIND[bytes[i] as number] as number
    if (kind === DIGIT_BYTE) {
      if (first < 0) {
        first = i
        digits = 0
      }
      last = i
      digits++
    } else if (first >= 0 && (kind !== GAP_BYTE || i - last > gapBytesMax)) {
      if (digits >= digitsMin) classify(scan, { first, end: last + 1 })
      first = -1
    }
  }
  if (first >= 0 && digits >= digitsMin) classify(scan, { first, end: last + 1 })
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
  let sign = 0
  for (let i = from; i < to; i++) {
    const byte = bytes[i] as number
    if (byte === 0x20) continue
    if (sign !== 0) return GAP.other
    sign = byte
  }
  if (sign === 0) return GAP.space
  if (sign === 0x2d || sign === 0x5f) return GAP.hyphen
  return sign === 0x2e ? GAP.dot : GAP.other
}

/** Social security and telephone numbers among the groups in the range. */
function classify(scan: Scan, range: { first: number; end: number }): void {
  readRun(scan, range)
  scan.spend(STEPS.digitGroup * run.count)
  let from = 0
  let at = 0
  while (at < run.count) {
    const candidate = { at, from, to: run.count }
    const ssn = findSsn(scan, run, candidate)
    const last = ssn >= 0 ? ssn : findPhone(scan, run, candidate)
    if (last < 0) {
      at++
      continue
    }
    const dataClass = ssn >= 0 ? 'ssn' : 'phone'
    const digit = run.starts[at] as number
    const start = ssn >= 0 ? digit : phoneStart(scan, digit)
    const end = run.ends[last] as number
    if (!isInHexToken(scan.view, { start: digit, end })) {
      scan.found({ dataClass, detector: dataClass, start, end })
    }
    at = from = last + 1
  }
}

/** A telephone number begins at its `+` or opening parenthesis. */
function phoneStart(scan: Scan, digit: number): number {
  const { bytes, from } = scan.view
  let at = digit
  if (at > from && bytes[at - 1] === 0x28) at--
  else if (at > from + 1 && bytes[at - 1] === 0x20 && bytes[at - 2] === 0x2b) at--
  if (at > from && bytes[at - 1] === 0x2b) at--
  return at
}
