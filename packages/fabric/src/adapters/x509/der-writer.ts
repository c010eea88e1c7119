import { concat, utf8 } from '@countersign/protocol'

/** Writes DER (X.690): the other direction of the protocol package's reader. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = concat(...parts)
  return concat(Uint8Array.of(tag), lengthOf(content.length), content)
}

function lengthOf(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length)
  if (length < 0x100) return Uint8Array.of(0x81, length)
  if (length < 0x10000) return Uint8Array.of(0x82, length >> 8, length & 0xff)
  throw new RangeError('an element of 64 KiB does not fit into a certificate')
}

export function derSequence(...members: readonly Uint8Array[]): Uint8Array {
  return der(0x30, ...members)
}

/** A non-negative integer of these bytes, highest first. */
export function derUnsigned(bytes: Uint8Array): Uint8Array {
  const start = bytes.findIndex((byte) => byte !== 0)
  const digits = start === -1 ? Uint8Array.of(0) : bytes.subarray(start)
  return der(0x02, (digits[0] ?? 0) >= 0x80 ? concat(Uint8Array.of(0), digits) : digits)
}

export function derObjectId(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  return der(0x06, Uint8Array.from([first * 40 + second, ...rest].flatMap(base128)))
}

function base128(arc: number): number[] {
  const digits = [arc & 0x7f]
  for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
    digits.unshift((left & 0x7f) | 0x80)
  }
  return digits
}

export function derUtf8(text: string): Uint8Array {
  return der(0x0c, utf8(text))
}

export function derOctets(bytes: Uint8Array): Uint8Array {
  return der(0x04, bytes)
}

export function derBitString(bytes: Uint8Array, unused = 0): Uint8Array {
  return der(0x03, Uint8Array.of(unused), bytes)
}

/** UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280, section 4.1.2.5). */
export function derTimeOf(unixMs: number): Uint8Array {
  const digits = new Date(unixMs).toISOString().replace(/[-:T]|\.\d{3}/g, '')
  const short = digits >= '1950' && digits < '2050'
  return der(short ? 0x17 : 0x18, utf8(short ? digits.slice(2) : digits))
}
