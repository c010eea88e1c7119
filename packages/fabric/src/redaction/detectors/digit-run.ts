import { ALNUM, DIGIT, isLeftEdge, KIND, LETTER } from '../text/ascii.ts'
import type { Scan } from '../text/view.ts'

/** Fewer digits in a run are nothing: a telephone number in context has seven. */
export const digitsMin = 7

/** Kinds of bytes as far as numbers go. */
export const DIGIT_BYTE = 1
export const GAP_BYTE = 2
export const LETTER_BYTE = 4
export const NUMBER_KIND = Uint8Array.from(KIND, (kind, byte) => {
  if ((kind & DIGIT) !== 0) return DIGIT_BYTE
  if ((kind & LETTER) !== 0) return LETTER_BYTE
  const isBracket = byte === 0x28 || byte === 0x29
  // Hyphen, full stop, slash and underscore.
  const isSign = (byte >= 0x2d && byte <= 0x2f) || byte === 0x5f
  return byte === 0x20 || isBracket || isSign ? GAP_BYTE : 0
})

/**
 * Separators between two groups of digits, without the spaces around them. An underscore counts as
 * a hyphen.
 */
export const GAP = { space: 0, hyphen: 1, dot: 2, other: 3, edge: 4 } as const
export type Gap = (typeof GAP)[keyof typeof GAP]

/**
 * Groups of digits that stand close enough to be one number, in order. Reused for every run, so
 * that text full of short numbers allocates nothing.
 */
export interface DigitRun {
  readonly starts: number[]
  readonly ends: number[]
  /** The gap before each group; `edge` before the first. */
  readonly gaps: Gap[]
  /** Number of groups in use; later entries are left over from longer runs. */
  count: number
}

/** A candidate: it begins with group `at`; groups `from` up to `to` are not claimed by another. */
export interface Candidate {
  readonly at: number
  readonly from: number
  readonly to: number
}

export function groupSize(run: DigitRun, k: number): number {
  return (run.ends[k] as number) - (run.starts[k] as number)
}

/** The first `count` digits of group `k` as a number; fewer where the group is shorter. */
export function leadingDigits(scan: Scan, run: DigitRun, k: number, count: number): number {
  const start = run.starts[k] as number
  const end = Math.min(run.ends[k] as number, start + count)
  let value = 0
  for (let i = start; i < end; i++) value = value * 10 + (scan.view.bytes[i] as number) - 0x30
  return value
}

/** Reports whether no letter or digit precedes the group. Inside a run only gaps do. */
export function isFreeStart(scan: Scan, run: DigitRun, k: number): boolean {
  return k > 0 || isLeftEdge(scan.view.bytes, scan.view.from, run.starts[k] as number)
}

/** Reports whether no letter or digit follows the group. */
export function isFreeEnd(scan: Scan, run: DigitRun, k: number): boolean {
  const { bytes, to } = scan.view
  const end = run.ends[k] as number
  return end >= to || ((KIND[bytes[end] as number] as number) & ALNUM) === 0
}
