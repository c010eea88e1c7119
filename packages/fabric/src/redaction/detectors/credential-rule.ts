import { ALNUM, isEscapeLetter, KIND } from '../text/ascii.ts'
import type { Scan } from '../text/view.ts'

/**
 * One credential format.
 *
 * Samples are templates, so that no file of ours holds anything that looks like a credential:
 * `{36}` stands for 36 letters and digits, `{16U}` for capitals and 2 to 7 (base32), `{32h}` for
 * lower-case hexadecimal, `{10d}` for digits. A test expands every row and runs it.
 */
export interface CredentialRule {
  readonly id: string
  /** True if the keywords, in lower case, match in any case. */
  readonly isAnyCase?: boolean
  /**
   * Keywords of the matcher; case-sensitive unless `isAnyCase` is set. `scan` is called where one
   * of them begins.
   */
  readonly keywords: readonly string[]
  /**
   * Reports what begins near `at`, if anything does. Must look at a bounded number of bytes per
   * call, or at every byte only once over all calls: that is what keeps a hostile message linear.
   */
  readonly scan: (scan: Scan, at: number, keyword: string) => void
  readonly positives: readonly string[]
  readonly negatives: readonly string[]
}

/** Byte sets, as tables. */
export const ALPHABETS = {
  alnum: setOf('a-zA-Z0-9'),
  url: setOf('a-zA-Z0-9-_'),
  word: setOf('a-zA-Z0-9_'),
  dotted: setOf('a-zA-Z0-9-_.'),
  base64: setOf('a-zA-Z0-9+/'),
  token68: setOf('a-zA-Z0-9-._~+/='),
  hex: setOf('a-f0-9'),
  hexBoth: setOf('a-fA-F0-9'),
  upper: setOf('A-Z0-9'),
  digits: setOf('0-9'),
} as const

function setOf(list: string): Uint8Array {
  const set = new Uint8Array(256)
  for (let i = 0; i < list.length; i++) {
    const isRange = list[i + 1] === '-' && i + 2 < list.length && list[i] !== '9'
    const last = isRange ? list.charCodeAt(i + 2) : list.charCodeAt(i)
    for (let code = list.charCodeAt(i); code <= last; code++) set[code] = 1
    if (isRange) i += 2
  }
  return set
}

/** Longer runs than this are data, not a token; it also bounds the work per keyword. */
export const tokenBytesMax = 1024

/** The end of the run of `alphabet` from `at`; reads at most one byte more than `max`. */
export function tokenEnd(
  scan: Scan,
  at: number,
  alphabet: Uint8Array,
  max: number = tokenBytesMax,
): number {
  const { bytes, to } = scan.view
  const limit = Math.min(to, at + max + 1)
  let i = at
  while (i < limit && alphabet[bytes[i] as number] === 1) i++
  return i
}

/**
 * Reports whether a token over `alphabet` may begin at `at`. A byte of the alphabet before it means
 * that the run has been scanned from an earlier start, which also keeps `sk-sk-sk-…` linear.
 */
export function isTokenStart(scan: Scan, at: number, alphabet: Uint8Array): boolean {
  const { bytes, from } = scan.view
  if (at <= from) return true
  const before = bytes[at - 1] as number
  if (alphabet[before] !== 1 && ((KIND[before] as number) & ALNUM) === 0) return true
  return isEscapeLetter(bytes, from, at - 1)
}

/**
 * Reports whether a token may be real. Placeholders such as `xxxxxxxx` and `EXAMPLE` endings have
 * few different bytes, or name themselves.
 */
export function isPlausible(scan: Scan, start: number, end: number): boolean {
  const { bytes } = scan.view
  let low = 0
  let high = 0
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number
    if (byte < 0x40 || byte > 0x5f) low |= 1 << (byte & 31)
    else high |= 1 << (byte & 31)
  }
  if (bitCount(low) + bitCount(high) < (end - start >= 16 ? 8 : 5)) return false
  const tail = String.fromCharCode(...bytes.subarray(Math.max(start, end - 7), end))
  return tail !== 'EXAMPLE' && tail !== 'example'
}

function bitCount(bits: number): number {
  let count = 0
  for (let rest = bits; rest !== 0; rest &= rest - 1) count++
  return count
}

/**
 * Builds the rule for the commonest kind of credential: a fixed prefix and a run of known bytes.
 */
export function prefixed(
  id: string,
  shape: {
    readonly prefixes: readonly string[]
    readonly alphabet: keyof typeof ALPHABETS
    readonly min: number
    readonly max?: number
    readonly contains?: string
  },
  samples: { readonly positives: readonly string[]; readonly negatives: readonly string[] },
): CredentialRule {
  const alphabet = ALPHABETS[shape.alphabet]
  const max = shape.max ?? tokenBytesMax
  return {
    id,
    keywords: shape.prefixes,
    scan: (scan, at, keyword) => {
      if (!isTokenStart(scan, at, alphabet)) return
      const body = at + keyword.length
      const end = tokenEnd(scan, body, alphabet, max)
      if (end - body < shape.min || end - body > max) return
      if (!isPlausible(scan, body, end)) return
      if (shape.contains !== undefined) {
        const text = String.fromCharCode(...scan.view.bytes.subarray(body, end))
        if (!text.includes(shape.contains)) return
      }
      scan.found({ dataClass: 'credential', detector: id, start: at, end })
    },
    ...samples,
  }
}
