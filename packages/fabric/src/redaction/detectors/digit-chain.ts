import { DIGIT, KIND, LETTER } from '../text/ascii.ts'
import type { View } from '../text/view.ts'

/** ` , ` and ` - ` are three; more between two groups, and they are two numbers. */
const gapCharactersMax = 4
/** A longer chain gives its memory back. */
const groupsKeptMax = 1024

/** White space of any length, and nothing else. */
export const BLANK = 0

/**
 * Groups of digits with little between them. One for the process, because making one for every
 * number would cost more than looking at it; nothing is kept from one call to the next.
 */
export interface DigitChain {
  readonly starts: number[]
  readonly ends: number[]
  /** The signs before each group as a number, white space aside; equal for equal signs. */
  readonly signs: number[]
  count: number
  digits: number
}

export function createChain(): DigitChain {
  return { starts: [], ends: [], signs: [], count: 0, digits: 0 }
}

export const isDigit = (bytes: Uint8Array, at: number): boolean =>
  ((KIND[bytes[at] as number] as number) & DIGIT) !== 0

export const sizeOf = (chain: DigitChain, k: number): number =>
  (chain.ends[k] as number) - (chain.starts[k] as number)

/** Reads the chain whose first digit is at `from`; gives the offset after its last one. */
export function readChain(chain: DigitChain, { bytes, to }: View, from: number): number {
  if (chain.starts.length > groupsKeptMax) {
    chain.starts.length = chain.ends.length = chain.signs.length = 0
  }
  chain.count = chain.digits = 0
  let at = from
  let sign = BLANK
  for (;;) {
    let end = at
    while (end < to && isDigit(bytes, end)) end++
    chain.starts[chain.count] = at
    chain.ends[chain.count] = end
    chain.signs[chain.count++] = sign
    chain.digits += end - at
    let characters = 0
    let letters = 0
    sign = BLANK
    at = end
    for (; at < to; at++) {
      const byte = bytes[at] as number
      const kind = KIND[byte] as number
      if ((kind & DIGIT) !== 0) break
      if (!isWhiteSpace(byte)) sign = (Math.imul(sign, 257) + byte + 1) | 0
      // In other scripts, letters and signs are not distinguished, so either may occur alone or in
      // a few.
      if ((byte & 0xc0) === 0x80) continue
      if ((kind & LETTER) !== 0) letters++
      if (++characters > gapCharactersMax) return end
    }
    if (at >= to || (letters > 0 && characters > 1)) return end
  }
}

const isWhiteSpace = (byte: number): boolean =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

/** Reports whether exactly one full stop precedes group `k`, as between the parts of a decimal. */
export function isPoint(chain: DigitChain, { bytes }: View, k: number): boolean {
  return isSingle(chain, k) && bytes[chain.ends[k - 1] as number] === 0x2e
}

/** Reports whether exactly one full stop or comma precedes group `k`. */
export function isDecimalSign(chain: DigitChain, { bytes }: View, k: number): boolean {
  const byte = bytes[chain.ends[k - 1] as number]
  return isSingle(chain, k) && (byte === 0x2e || byte === 0x2c)
}

const isSingle = (chain: DigitChain, k: number): boolean =>
  k > 0 && k < chain.count && (chain.starts[k] as number) - (chain.ends[k - 1] as number) === 1

/** Reports whether a separator of lists precedes group `k`: `,` `;` `|`, tab, line. */
export function isListSign(chain: DigitChain, { bytes }: View, k: number): boolean {
  for (let i = chain.ends[k - 1] as number; i < (chain.starts[k] as number); i++) {
    const byte = bytes[i] as number
    if (byte === 0x2c || byte === 0x3b || byte === 0x7c || byte === 0x09) return true
    if (byte === 0x0a || byte === 0x0d) return true
  }
  return false
}
