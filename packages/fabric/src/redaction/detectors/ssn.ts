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

/**
 * The last group of a United States social security number that begins with group `at`, or -1.
 *
 * Area 000, 666 and 900 up, group 00 and serial 0000 were never issued (SSA, POMS RM 10201.035).
 * Nine bare digits, dots or other signs between the groups, or a number that seems to go on need a
 * word next to them that identifies them.
 */
export function findSsn(scan: Scan, run: DigitRun, candidate: Candidate): number {
  const i = candidate.at
  if (!isFreeStart(scan, run, i)) return -1
  if (groupSize(run, i) === 9) return isBareSsn(scan, run, i) ? i : -1
  if (i + 2 >= candidate.to) return -1
  if (groupSize(run, i) !== 3 || groupSize(run, i + 1) !== 2 || groupSize(run, i + 2) !== 4) {
    return -1
  }
  const gap = run.gaps[i + 1]
  if (gap !== run.gaps[i + 2] || !isFreeEnd(scan, run, i + 2)) return -1
  const area = leadingDigits(scan, run, i, 3)
  const group = leadingDigits(scan, run, i + 1, 2)
  if (!isIssued(area, group, leadingDigits(scan, run, i + 2, 4))) return -1
  const continues =
    (i > candidate.from && run.gaps[i] === gap) || (i + 3 < candidate.to && run.gaps[i + 3] === gap)
  const isPlain = gap === GAP.hyphen || gap === GAP.space
  if (isPlain && !continues) return i + 2
  return hasContext(scan, run.starts[i] as number, 'ssn') ? i + 2 : -1
}

function isBareSsn(scan: Scan, run: DigitRun, i: number): boolean {
  const digits = leadingDigits(scan, run, i, 9)
  const area = Math.floor(digits / 1_000_000)
  const group = Math.floor(digits / 10_000) % 100
  if (!isIssued(area, group, digits % 10_000) || !isFreeEnd(scan, run, i)) return false
  return hasContext(scan, run.starts[i] as number, 'ssn')
}

function isIssued(area: number, group: number, serial: number): boolean {
  return area !== 0 && area !== 666 && area < 900 && group !== 0 && serial !== 0
}
