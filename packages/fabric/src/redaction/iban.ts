import { ALNUM, DIGIT, isLeftEdge, KIND, LETTER } from './ascii.ts'
import type { Scan } from './view.ts'

/**
 * Total length per country, from the IBAN registry (ISO 13616). A trailing `n` means that everything
 * after the country code is digits.
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
 * Reports an IBAN whose check digits begin at `at`, and gives the offset after it, or 0. Groups may
 * be parted by single spaces or hyphens. At most 33 characters are read.
 */
export function scanIban(scan: Scan, at: number): number {
  const { bytes, from, to } = scan.view
  const start = at - 2
  if (start < from || !isLeftEdge(bytes, from, start)) return 0
  // Upper-cased by clearing one bit; anything but two letters cannot be in the table afterwards.
  const first = bytes[start] as number
  const second = bytes[start + 1] as number
  if (((KIND[first] as number) & (KIND[second] as number) & LETTER) === 0) return 0
  const country = LENGTHS.get((first & 0xdf) * 256 + (second & 0xdf))
  if (country === undefined) return 0
  const end = readIban(bytes, { start, to, ...country })
  if (end === 0) return 0
  scan.found({ dataClass: 'iban', detector: 'iban', start, end })
  return end
}

/** ISO 7064, MOD 97-10: everything after the fourth character, then the first four. */
function readIban(
  bytes: Uint8Array,
  shape: { start: number; to: number; length: number; numeric: boolean },
): number {
  let head = 0
  let remainder = 0
  let count = 0
  let i = shape.start
  for (; i < shape.to && count < shape.length; i++) {
    const byte = bytes[i] as number
    const kind = KIND[byte] as number
    if ((kind & ALNUM) === 0) {
      if ((byte !== 0x20 && byte !== 0x2d) || count < 4) return 0
      if (((KIND[bytes[i - 1] as number] as number) & ALNUM) === 0) return 0
      continue
    }
    if ((kind & DIGIT) === 0 && shape.numeric && count >= 2) return 0
    if (count === 2 || count === 3) if ((kind & DIGIT) === 0) return 0
    if (count < 4) head = append(head, byte, kind)
    else remainder = append(remainder, byte, kind) % 97
    count++
  }
  if (
    count < shape.length ||
    (i < shape.to && ((KIND[bytes[i] as number] as number) & ALNUM) !== 0)
  ) {
    return 0
  }
  // The first four characters are six digits once letters count as two (A = 10 … Z = 35).
  return (remainder * 1_000_000 + head) % 97 === 1 ? i : 0
}

function append(number: number, byte: number, kind: number): number {
  return (kind & DIGIT) !== 0 ? number * 10 + byte - 0x30 : number * 100 + (byte & 0xdf) - 55
}
