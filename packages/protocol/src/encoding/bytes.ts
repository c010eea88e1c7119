const encoder = new TextEncoder()
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function utf8(text: string): Uint8Array {
  return encoder.encode(text)
}

/** Throws a TypeError on bytes that are not UTF-8; a byte order mark is kept, never swallowed. */
export function parseUtf8(bytes: Uint8Array): string {
  return strictDecoder.decode(bytes)
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0)
  return difference === 0
}

const hexPairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

export function toHex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += hexPairs[byte]
  return text
}

const base64Digits = utf8('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/')
const padding = 0x3d
const notADigit = 0xff
const base64Values = new Uint8Array(256).fill(notADigit)
for (const [value, digit] of base64Digits.entries()) base64Values[digit] = value
const asciiDecoder = new TextDecoder('latin1')
const base64UrlStrict = /^[A-Za-z0-9_-]*$/

export function toBase64(bytes: Uint8Array): string {
  const text = new Uint8Array(Math.ceil(bytes.length / 3) * 4)
  let at = 0
  for (let i = 0; i < bytes.length; i += 3) {
    const group = ((bytes[i] ?? 0) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0)
    text[at++] = base64Digits[group >> 18] ?? 0
    text[at++] = base64Digits[(group >> 12) & 63] ?? 0
    text[at++] = base64Digits[(group >> 6) & 63] ?? 0
    text[at++] = base64Digits[group & 63] ?? 0
  }
  const rest = bytes.length % 3
  if (rest !== 0) text[at - 1] = padding
  if (rest === 1) text[at - 2] = padding
  return asciiDecoder.decode(text)
}

/**
 * The bytes, or null unless `text` is the one canonical form (RFC 4648, section 4): padded, no
 * white space, and unused bits zero, so that no second text decodes to the same bytes.
 */
export function parseBase64(text: string): Uint8Array | null {
  if (text.length % 4 !== 0) return null
  const padded = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
  const digits = text.length - padded
  const bytes = new Uint8Array((text.length / 4) * 3 - padded)
  let at = 0
  let bits = 0
  let group = 0
  for (let i = 0; i < digits; i++) {
    const code = text.charCodeAt(i)
    const value = code < 256 ? (base64Values[code] ?? notADigit) : notADigit
    if (value === notADigit) return null
    group = ((group << 6) | value) & 0xffff
    bits += 6
    if (bits >= 8) {
      bits -= 8
      bytes[at++] = group >> bits
    }
  }
  return (group & ((1 << bits) - 1)) === 0 ? bytes : null
}

export function toBase64Url(bytes: Uint8Array): string {
  return toBase64(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/** As `parseBase64`, for the unpadded URL-safe form (RFC 4648, section 5). */
export function parseBase64Url(text: string): Uint8Array | null {
  if (!base64UrlStrict.test(text)) return null
  const standard = text.replaceAll('-', '+').replaceAll('_', '/')
  return parseBase64(standard.padEnd(Math.ceil(standard.length / 4) * 4, '='))
}
