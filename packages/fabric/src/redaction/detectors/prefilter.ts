import { isControlByte } from '@countersign/protocol'
import { BASE64, DIGIT, ESCAPE, KIND, NON_ASCII } from '../text/ascii.ts'
import { base64RunMin } from '../text/base64.ts'
import { cardDigitsMin } from './card.ts'
import { detectorMatcher, mailState } from './detector-matcher.ts'
import { DIGIT_BYTE, digitsMin, GAP_BYTE, NUMBER_KIND } from './digit-run.ts'

/** Result of one pass over some text: it shows which detectors have a reason to run. */
export interface Prefilter {
  /** All kinds of bytes that occur, as bits. */
  kinds: number
  /**
   * One more than the digits in every run of digits and gaps so far, or-ed: 8 or more exactly when
   * one run has seven digits. Identifiers and times have many digits, but few in a row.
   */
  digitRuns: number
  /** All digits so far. A number in disguise has them with anything between. */
  digits: number
  /** Lengths of all runs of base64 so far, or-ed: 16 or more exactly when one run reached 16. */
  base64Runs: number
  /**
   * Length of the run of base64 that the last stretch ended with; it goes on after a line break.
   */
  openRun: number
  keyword: boolean
  /** True if a keyword other than `@` is there. */
  named: boolean
  /** Of a JSON string: whether it holds escapes. */
  escaped: boolean
}

export function createPrefilter(): Prefilter {
  return {
    kinds: 0,
    digitRuns: 0,
    digits: 0,
    base64Runs: 0,
    openRun: 0,
    keyword: false,
    named: false,
    escaped: false,
  }
}

export function clearPrefilter(seen: Prefilter): void {
  seen.kinds = seen.digitRuns = seen.digits = seen.base64Runs = seen.openRun = 0
  seen.keyword = seen.named = seen.escaped = false
}

export const hasDigits = (seen: Prefilter): boolean => seen.digitRuns > digitsMin
export const hasCardDigits = (seen: Prefilter): boolean => seen.digits >= cardDigitsMin
export const hasBase64 = (seen: Prefilter): boolean => seen.base64Runs >= base64RunMin
export const hasEscapes = (seen: Prefilter): boolean => (seen.kinds & ESCAPE) !== 0
export const hasNonAscii = (seen: Prefilter): boolean => (seen.kinds & NON_ASCII) !== 0

/** Reports whether no detector or decoder has anything to do. */
export function isQuiet(seen: Prefilter): boolean {
  return (
    !seen.keyword &&
    seen.digitRuns <= digitsMin &&
    seen.digits < cardDigitsMin &&
    seen.base64Runs < base64RunMin &&
    (seen.kinds & (ESCAPE | NON_ASCII)) === 0
  )
}

/** Reports whether only detectors of numbers and of addresses have anything to do. */
export function isPlain(seen: Prefilter): boolean {
  return !seen.named && seen.base64Runs < base64RunMin && (seen.kinds & (ESCAPE | NON_ASCII)) === 0
}

/**
 * All that the loop needs of a byte, in one word: its kind in the low byte, then whether it ends a
 * stretch (quote, backslash, control characters), then its class in the matcher; the sign marks
 * base64, the bit below that it continues a number.
 */
const STOP = 1 << 8
const CLASS_SHIFT = 16
const CLASS_MASK = 0xff
const BYTES = Int32Array.from(KIND, (kind, byte) => {
  const stops = byte === 0x22 || byte === 0x5c || byte < 0x20
  const matcherClass = (detectorMatcher.classes[byte] as number) << CLASS_SHIFT
  const isBase64 = (kind & BASE64) !== 0 ? 1 << 31 : 0
  const isNumber = ((NUMBER_KIND[byte] as number) & (DIGIT_BYTE | GAP_BYTE)) !== 0 ? 1 << 30 : 0
  return kind | (stops ? STOP : 0) | matcherClass | isBase64 | isNumber
})
const { next, outputsFrom } = detectorMatcher

/**
 * Surveys `bytes` from `from` to the first quote, backslash or control character, or to `to`; adds
 * what it sees to `seen` and gives the offset where it stopped.
 *
 * This loop sees every byte of every message once: the one place where its shape matters.
 */
export function prefilterStretch(
  bytes: Uint8Array,
  from: number,
  to: number,
  seen: Prefilter,
): number {
  let kinds = 0
  let digits = 0
  let digitRuns = 0
  let total = 0
  let run = seen.openRun
  let runs = 0
  let state = 0
  let i = from
  for (; i < to; i++) {
    const info = BYTES[bytes[i] as number] as number
    if ((info & STOP) !== 0) break
    kinds |= info
    // A flag, spread over the word, keeps a count going or clears it without a branch.
    digits = (digits + (info & DIGIT)) & ((info << 1) >> 31)
    digitRuns |= digits + 1
    total += info & DIGIT
    run = (run + 1) & (info >> 31)
    runs |= run
    state = next[state + ((info >>> CLASS_SHIFT) & CLASS_MASK)] as number
    if (state >= outputsFrom) {
      seen.keyword = true
      if (state !== mailState) seen.named = true
    }
  }
  seen.kinds |= kinds & 0xff
  seen.digitRuns |= digitRuns
  seen.digits += total
  seen.base64Runs |= runs
  seen.openRun = run
  return i
}

/**
 * Returns the start of the text after a line break, or after an escaped one: base64 continues after
 * the indentation. No keyword begins with a blank.
 */
export function behindIndent(bytes: Uint8Array, at: number, to: number): number {
  let i = at
  while (i < to && (bytes[i] === 0x20 || bytes[i] === 0x09)) i++
  return i
}

/** Reports whether a switch such as `-u` or `--user` may begin at `at`. */
export const beginsSwitch = (bytes: Uint8Array, at: number): boolean =>
  bytes[at] === 0x2d && (bytes[at + 1] === 0x2d || ((bytes[at + 1] ?? 0) | 0x20) > 0x60)

/**
 * Surveys all of a text. No keyword holds a byte that ends a stretch, so nothing is missed between
 * two.
 */
export function prefilterText(bytes: Uint8Array, from: number, to: number): Prefilter {
  const seen = createPrefilter()
  let at = from
  while (at < to) {
    at = prefilterStretch(bytes, at, to, seen)
    if (at < to) {
      const stop = bytes[at] as number
      // Folding removes it: `4111\u00001111` is one number for a reader that drops it.
      seen.kinds |= isControlByte(stop) ? NON_ASCII : (KIND[stop] as number)
      // A switch in a list of arguments has no keyword that identifies it: `["-u", "jane:…"]`.
      if (stop === 0x22 && beginsSwitch(bytes, at + 1)) seen.keyword = seen.named = true
    }
    if (bytes[at] !== 0x0a && bytes[at] !== 0x0d) seen.openRun = 0
    at++
    if (seen.openRun !== 0) at = behindIndent(bytes, at, to)
  }
  return seen
}
