import { holdsNamedKeyword } from '../detectors/detector-matcher.ts'
import { ALNUM, KIND, LETTER } from '../text/ascii.ts'
import type { Span } from '../text/view.ts'
import type { Cut } from './inspection.ts'

/** No detector reads further from a digit or an `@` towards the end of its text. */
const reachForwards = 256
/** The same towards the start: 40 bytes to a word, the word, and a marker before it. */
const reachBackwards = 128
/** An IBAN in an unusual spelling has no more letters behind the country's. */
const ibanLettersMax = 4

/**
 * Reports whether a text that a detector has searched needs no second search once its cuts are
 * made; false where that is not certain.
 *
 * Of a plain text (`isPlain`) each finding is a row of digits or an address around an `@`. A
 * detector reads a bounded number of bytes around either, and stops at what can be in neither. So a
 * finding is new only if a digit or an `@` is close to a cut, with nothing in between that stops
 * it, or if the marker itself brings it: no keyword and no base64 goes across a bracket.
 */
export function isSettled(body: Uint8Array, { start, end }: Span, cuts: readonly Cut[]): boolean {
  let from = start
  for (const [i, cut] of cuts.entries()) {
    const to = cuts[i + 1]?.start ?? end
    if (!isHarmless(cut.marker)) return false
    if (!isFreeBefore(body, Math.max(from, cut.start - reachForwards), cut.start)) return false
    if (!isFreeBehind(body, cut.end, Math.min(to, cut.end + reachBackwards))) return false
    from = cut.end
  }
  return true
}

/** Reports whether nothing before `to` reads across it: neither digits nor an `@`. */
function isFreeBefore(body: Uint8Array, from: number, to: number): boolean {
  let letters = 0
  let others = 0
  let stopsIban = false
  let stopsDomain = false
  for (let i = to - 1; i >= from; i--) {
    const byte = body[i] as number
    const kind = KIND[byte] as number
    if ((kind & ALNUM) === 0) {
      // Groups of an IBAN in its usual spelling are parted by one space or hyphen.
      others++
      stopsIban ||= others > 1 || (byte !== 0x20 && byte !== 0x2d)
      if (byte === at) {
        if (!stopsDomain) return false
      } else stopsDomain ||= byte !== 0x2d && byte !== 0x2e
    } else {
      others = 0
      if ((kind & LETTER) === 0) return false
      letters++
    }
    // As many letters end a row of digits as well.
    if (stopsIban && stopsDomain && letters > ibanLettersMax) return true
  }
  return true
}

/** Reports whether nothing from `from` on reads back across it. */
function isFreeBehind(body: Uint8Array, from: number, to: number): boolean {
  let isParted = false
  for (let i = from; i < to; i++) {
    const byte = body[i] as number
    if (byte === at && !isParted) return false
    const kind = KIND[byte] as number
    if ((kind & ALNUM) !== 0 && (kind & LETTER) === 0) return false
    // Neither the local part of an address nor the user of a URL holds a space.
    isParted ||= byte === 0x20
  }
  return true
}

const at = 0x40

/** Reports whether the marker has brackets around it, and no keyword in it. */
function isHarmless(marker: string): boolean {
  return marker.startsWith('[') && marker.endsWith(']') && !holdsNamedKeyword(marker)
}
