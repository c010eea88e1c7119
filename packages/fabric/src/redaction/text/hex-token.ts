import { ALNUM, KIND } from './ascii.ts'
import { HEX } from './escapes.ts'
import type { Span, View } from './view.ts'

/** Lengths of digests in hexadecimal: MD5, SHA-1, SHA-224, SHA-256, SHA-384, SHA-512. */
const digestLengths: ReadonlySet<number> = new Set([32, 40, 56, 64, 96, 128])
const digestLengthMax = 128

const uuidLength = 36
const uuidHyphens = [8, 13, 18, 23]

/**
 * Reports whether the row of digits at `span` begins or ends inside a UUID or a digest. Both hold
 * sixteen digits in a row now and then, and must not change. Reads at most 300 bytes.
 */
export function isInHexToken(view: View, { start, end }: Span): boolean {
  return (
    isInDigest(view, start) ||
    isInUuid(view, start) ||
    isInDigest(view, end - 1) ||
    isInUuid(view, end - 1)
  )
}

const isHex = ({ bytes, from, to }: View, at: number): boolean =>
  at >= from && at < to && (HEX[bytes[at] as number] as number) >= 0

const isAlnum = ({ bytes, from, to }: View, at: number): boolean =>
  at >= from && at < to && ((KIND[bytes[at] as number] as number) & ALNUM) !== 0

/** A token of hexadecimal digits of such a length, with a letter, by itself or after `0x`. */
function isInDigest(view: View, at: number): boolean {
  let start = at
  while (at - start <= digestLengthMax && isHex(view, start - 1)) start--
  let end = at + 1
  while (end - start <= digestLengthMax && isHex(view, end)) end++
  if (!digestLengths.has(end - start) || isAlnum(view, end)) return false
  if (isAlnum(view, start - 1) && view.bytes[start - 1] !== 0x78) return false
  for (let i = start; i < end; i++) if ((HEX[view.bytes[i] as number] as number) > 9) return true
  return false
}

/** RFC 9562, section 4: groups of 8-4-4-4-12, versions 1 to 8. */
function isInUuid(view: View, at: number): boolean {
  const { bytes } = view
  for (let start = at; at - start < uuidLength; start--) {
    if (!isHex(view, start) && bytes[start] !== 0x2d) return false
    if (isUuid(view, start)) return true
  }
  return false
}

function isUuid(view: View, start: number): boolean {
  const { bytes } = view
  if (bytes[start + 8] !== 0x2d || isHex(view, start - 1) || isAlnum(view, start + uuidLength))
    return false
  for (let i = 0; i < uuidLength; i++) {
    if (uuidHyphens.includes(i)) {
      if (bytes[start + i] !== 0x2d) return false
    } else if (!isHex(view, start + i)) return false
  }
  const version = HEX[bytes[start + 14] as number] as number
  return version >= 1 && version <= 8 && (HEX[bytes[start + 19] as number] as number) >= 8
}
