import { scanCards } from '../detectors/card-numbers.ts'
import { scanForeignNames, scanKeywords } from '../detectors/detector-matcher.ts'
import { scanDigits } from '../detectors/digits.ts'
import {
  hasBase64,
  hasCardDigits,
  hasDigits,
  hasEscapes,
  hasNonAscii,
  type Prefilter,
  prefilterText,
} from '../detectors/prefilter.ts'
import { STEPS } from '../inspection-work.ts'
import { scanEmbeddedJson } from '../json/embedded-json.ts'
import { eachBase64 } from '../text/base64.ts'
import { escapeReadings } from '../text/decode.ts'
import { fold } from '../text/fold.ts'
import type { Scan, View } from '../text/view.ts'

/** Encodings are peeled off this many times, such as base64 of percent-encoded text. */
export const decodeDepthMax = 2

/** JSON in a string of JSON in a string of JSON, and so on, is read this many times. */
export const nestedLayersMax = 8

/** Gives the scan that reports for a view; the detectors of one leaf share everything else. */
export type OpenScan = (view: View) => Scan

export interface Scanning {
  readonly open: OpenScan
  /** Number of encodings removed. */
  readonly depth: number
  /** Number of JSON strings that enclose the text, apart from those of the body itself. */
  readonly layer?: number
}

/**
 * Runs every detector over a view and over its decoded forms.
 *
 * One pass finds the kinds of bytes and the keywords that are there; detectors run only where that
 * gave them a reason. Decoded forms are at most half as long again as their source, and there are
 * no more from each than its encodings have alignments, so the work is linear in the length.
 */
export function scanView(view: View, open: OpenScan): void {
  scanPrefiltered(view, prefilterText(view.bytes, view.from, view.to), { open, depth: 0 })
}

/** As `scanView`, for a view that is already surveyed. */
export function scanPrefiltered(view: View, seen: Prefilter, scanning: Scanning): void {
  const { open, depth } = scanning
  const scan = open(view)
  const length = view.to - view.from
  scanPlain(scan, seen, scanning)
  let plain = view
  let plainSeen = seen
  if (hasNonAscii(seen)) {
    scan.spend(STEPS.foldedByte * length)
    const folded = fold(view)
    if (folded !== null) {
      plain = folded
      plainSeen = prefilterText(folded.bytes, folded.from, folded.to)
      scanPlain(open(folded), plainSeen, scanning)
    }
  }
  if (depth >= decodeDepthMax) return
  const scanDeeper = (decoded: View): void => {
    const prefilter = prefilterText(decoded.bytes, decoded.from, decoded.to)
    scanPrefiltered(decoded, prefilter, { ...scanning, depth: depth + 1 })
  }
  if (hasEscapes(plainSeen)) {
    scan.spend(STEPS.unescapedByte * length)
    const readings = escapeReadings(plain)
    // Decoded once for each.
    if (readings.length > 1) scan.spend(STEPS.unescapedByte * length)
    for (const decoded of readings) scanDeeper(decoded)
  }
  if (hasBase64(plainSeen)) {
    scan.spend(STEPS.byte * length)
    eachBase64(plain, scanDeeper, (steps) => scan.spend(steps))
  }
}

const NONE: readonly number[] = []

function scanPlain(scan: Scan, seen: Prefilter, { open, layer = 0 }: Scanning): void {
  scan.spend(STEPS.byte * (scan.view.to - scan.view.from) + STEPS.digit * seen.digits)
  const claimed = hasCardDigits(seen) ? scanCards(scan) : NONE
  if (hasDigits(seen)) scanDigits(scan, claimed)
  if (seen.keyword) scanKeywords(scan)
  if (hasNonAscii(seen)) scanForeignNames(scan)
  // Without any of these no name of a secret is in it, however it is written.
  const mayNest = seen.keyword || hasEscapes(seen) || hasNonAscii(seen)
  if (!mayNest || layer >= nestedLayersMax) return
  scanEmbeddedJson(scan, (text) => {
    scan.spend(STEPS.decodedByte * (text.to - text.from))
    // Encodings are peeled off the outer text, whose escapes these are.
    const prefilter = prefilterText(text.bytes, text.from, text.to)
    scanPrefiltered(text, prefilter, { open, depth: decodeDepthMax, layer: layer + 1 })
  })
}
