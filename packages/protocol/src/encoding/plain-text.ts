import { parseUtf8 } from './bytes.ts'

/**
 * Reports whether a code point below 0x20 or DEL does not belong in text: all except tab and line
 * ends.
 */
export function isControlByte(byte: number): boolean {
  return byte < 0x20 ? byte !== 0x09 && byte !== 0x0a && byte !== 0x0d : byte === 0x7f
}

/**
 * The offset of the first control character of UTF-8 text, or -1. NUL and its kin end, split or
 * hide text for some readers and not for others; C1 (U+0080 to U+009F) is what other charsets
 * decode to.
 */
export function controlAt(bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number
    if (byte >= 0x20 && byte < 0x7f) continue
    if (isControlByte(byte)) return i
    if (byte === 0xc2 && (bytes[i + 1] as number) < 0xa0) return i
  }
  return -1
}

/** The bytes with every `%XX` decoded; a percent sign that starts none stays as it is. */
export function decodePercent(bytes: Uint8Array): Uint8Array {
  const decoded = new Uint8Array(bytes.length)
  let length = 0
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number
    const high = byte === 0x25 ? hexDigit(bytes[i + 1]) : -1
    const low = high < 0 ? -1 : hexDigit(bytes[i + 2])
    decoded[length++] = low < 0 ? byte : high * 16 + low
    if (low >= 0) i += 2
  }
  return decoded.subarray(0, length)
}

function hexDigit(byte: number = 0): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const letter = byte | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}

/**
 * Returns why readers would differ over the bytes behind the percent signs of a form, a query or a
 * path: bytes that are not UTF-8 are another character in every other charset. Null when none
 * would.
 */
export function percentFault(bytes: Uint8Array): string | null {
  if (!bytes.includes(0x25)) return null
  const decoded = decodePercent(bytes)
  try {
    parseUtf8(decoded)
  } catch {
    return 'percent-encoded bytes are not UTF-8'
  }
  return controlAt(decoded) < 0 ? null : 'a control character is percent-encoded'
}
