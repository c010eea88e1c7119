import { STEPS } from '../inspection-work.ts'
import { ALNUM, DIGIT, isLeftEdge, KIND, LETTER } from '../text/ascii.ts'
import { isInHexToken } from '../text/hex-token.ts'
import type { Scan, Span, View } from '../text/view.ts'

/**
 * Total length per country, from the IBAN registry (ISO 13616). A trailing `n` means that
 * everything after the country code is digits.
 */
const COUNTRIES =
  'AD24 AE23n AL28 AT20n AZ28 BA20n BE16n BG22 BH22 BI27n BR29 BY28 CH21 CR22n CY28 CZ24n DE22n DJ27n DK18n DO28 EE20n EG29n ES24n FI18n FK18 FO18n FR27 GB22 GE22 GI23 GL18n GR27 GT28 HN28 HR21n HU28n IE22 IL23n IQ23 IS26n IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20n LU20 LV21 LY25n MC27 MD24 ME22n MK19 MN20n MR27n MT31 MU30 NI28 NL18 NO15n OM23 PK24 PL28n PS29 PT25n QA29 RO24 RS22n RU33 SA24 SC31 SD18n SE24n SI19n SK24n SM27 SO23n ST25n SV28 TL23n TN24n TR26 UA29 VA22n VG24 XK20n YE30'

const LENGTHS: ReadonlyMap<number, { length: number; numeric: boolean }> = new Map(
  COUNTRIES.split(' ').map((row) => [
    row.charCodeAt(0) * 256 + row.charCodeAt(1),
    { length: Number.parseInt(row.slice(2), 10), numeric: row.endsWith('n') },
  ]),
)

/**
 * Between two characters of an IBAN; the country's letters and the check digits are parted by as
 * many at most.
 */
const gapBytesMax = 4
/**
 * Letters after the country code in an IBAN that is parted unusually. More are words of a sentence.
 */
const laxLettersMax = 4

/** Permitted spellings of an IBAN. */
interface Spelling {
  readonly gapMax: number
  readonly lettersMax: number
  /** True if only spaces and hyphens separate it, and none before the fifth character. */
  readonly isUsual: boolean
}

const USUAL: Spelling = { gapMax: 1, lettersMax: Number.POSITIVE_INFINITY, isUsual: true }
const LAX: Spelling = { gapMax: gapBytesMax, lettersMax: laxLettersMax, isUsual: false }

/** An IBAN that was found. Only in a usual one digits are nothing else. */
export interface Iban extends Span {
  readonly isUsual: boolean
}

/**
 * Reports the IBAN whose check digits begin at `at`, if there is one. Reads at most 34 characters
 * with the gaps between them, twice.
 *
 * In an unusual spelling, one of a hundred words such as `is` before the right number of other
 * digits looks like one, and must not hide a card number in them.
 */
export function scanIban(scan: Scan, at: number): Iban | null {
  const { bytes, from, to } = scan.view
  const second = letterBefore(scan.view, at)
  if (second < 0) return null
  const start = letterBefore(scan.view, second)
  if (start < 0) return null
  // Upper-cased by clearing one bit; anything but two letters cannot be in the table afterwards.
  const country = LENGTHS.get(
    ((bytes[start] as number) & 0xdf) * 256 + ((bytes[second] as number) & 0xdf),
  )
  if (country === undefined || start + country.length > to) return null
  // All digits up to a given length and two letters before them are nothing else by chance.
  if (!country.numeric && !isLeftEdge(bytes, from, start)) return null
  scan.spend(STEPS.iban)
  const usual = readIban(scan.view, { start, ...country, ...USUAL })
  const end = usual || readIban(scan.view, { start, ...country, ...LAX })
  if (end === 0 || isInHexToken(scan.view, { start, end })) return null
  scan.found({ dataClass: 'iban', detector: 'iban', start, end })
  return { start, end, isUsual: usual !== 0 }
}

/** The offset of the letter before `at`, with at most a gap between them; or -1. */
function letterBefore({ bytes, from }: View, at: number): number {
  for (let i = at - 1; i >= from && at - i <= gapBytesMax + 1; i--) {
    const kind = KIND[bytes[i] as number] as number
    if ((kind & LETTER) !== 0) return i
    if ((kind & DIGIT) !== 0) return -1
  }
  return -1
}

/** ISO 7064, MOD 97-10: everything after the fourth character, then the first four. */
function readIban(
  { bytes, to }: View,
  shape: Spelling & { start: number; length: number; numeric: boolean },
): number {
  let head = 0
  let remainder = 0
  let count = 0
  let gap = 0
  let letters = 0
  let i = shape.start
  for (; i < to && count < shape.length; i++) {
    const byte = bytes[i] as number
    const kind = KIND[byte] as number
    if ((kind & ALNUM) === 0) {
      if (++gap > shape.gapMax) return 0
      if (shape.isUsual && ((byte !== 0x20 && byte !== 0x2d) || count < 4)) return 0
      continue
    }
    gap = 0
    if ((kind & DIGIT) === 0 && count >= 2) {
      if (shape.numeric || count < 4 || ++letters > shape.lettersMax) return 0
    }
    if (count < 4) head = append(head, byte, kind)
    else remainder = append(remainder, byte, kind) % 97
    count++
  }
  // Behind digits alone a letter begins something else: `DE89…00EUR`.
  const goesOn = shape.numeric ? DIGIT : ALNUM
  if (count < shape.length || (i < to && ((KIND[bytes[i] as number] as number) & goesOn) !== 0)) {
    return 0
  }
  // The first four characters are six digits once letters count as two (A = 10 … Z = 35).
  return (remainder * 1_000_000 + head) % 97 === 1 ? i : 0
}

function append(number: number, byte: number, kind: number): number {
  return (kind & DIGIT) !== 0 ? number * 10 + byte - 0x30 : number * 100 + (byte & 0xdf) - 55
}
