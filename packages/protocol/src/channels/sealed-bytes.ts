/** Thrown by the reader only, and caught by the parser that owns it: the outside sees null. */
export class Malformed extends Error {}

/** Writes the big-endian fields of our binary formats; grows by doubling, never past `bytesMax`. */
export class ByteWriter {
  #bytes: Uint8Array<ArrayBuffer>
  #length = 0

  constructor(capacity: number) {
    this.#bytes = new Uint8Array(capacity)
  }

  u8(value: number): void {
    this.#reserve(1)
    this.#bytes[this.#length++] = value
  }

  u16(value: number): void {
    this.#reserve(2)
    this.#bytes[this.#length++] = value >>> 8
    this.#bytes[this.#length++] = value
  }

  u32(value: number): void {
    this.#reserve(4)
    this.#bytes[this.#length++] = value >>> 24
    this.#bytes[this.#length++] = value >>> 16
    this.#bytes[this.#length++] = value >>> 8
    this.#bytes[this.#length++] = value
  }

  /**
   * Eight bytes that hold a safe integer, so that every runtime reads the number that was written.
   */
  u64(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new TypeError('not a safe integer')
    this.u32(Math.floor(value / 0x1_0000_0000))
    this.u32(value >>> 0)
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
  }

  /** One length byte, then printable ASCII. */
  text(value: string): void {
    if (value.length > 255) throw new TypeError('text of more than 255 bytes')
    this.u8(value.length)
    this.#reserve(value.length)
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i)
      if (code < 0x20 || code > 0x7e) throw new TypeError('text is not printable ASCII')
      this.#bytes[this.#length + i] = code
    }
    this.#length += value.length
  }

  /** A copy of what was written, after which the same memory serves again. */
  take(): Uint8Array<ArrayBuffer> {
    const taken = this.#bytes.slice(0, this.#length)
    this.#length = 0
    return taken
  }

  /** Starts over: the bytes that an encoder wrote before it threw are discarded. */
  reset(): this {
    this.#length = 0
    return this
  }

  /**
   * Returns the bytes written. Without a copy where the capacity was exact; nothing may be written
   * after it.
   */
  finish(): Uint8Array<ArrayBuffer> {
    if (this.#length === this.#bytes.length) return this.#bytes
    return this.#bytes.slice(0, this.#length)
  }

  /** Its memory, written or not: zeros follow what was written into a fresh one. */
  whole(): Uint8Array<ArrayBuffer> {
    return this.#bytes
  }

  #reserve(count: number): void {
    const needed = this.#length + count
    if (needed <= this.#bytes.length) return
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
    larger.set(this.#bytes)
    this.#bytes = larger
  }
}

/**
 * Reads what `ByteWriter` writes. Every method throws `Malformed` rather than read past the end.
 */
export class ByteReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get at(): number {
    return this.#at
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1))
  }

  u16(): number {
    return this.#view.getUint16(this.#advance(2))
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4))
  }

  u64(): number {
    const value = this.u32() * 0x1_0000_0000 + this.u32()
    if (!Number.isSafeInteger(value)) throw new Malformed('integer above 2^53')
    return value
  }

  /** A view, not a copy: it lives as long as the message it was read from. */
  raw(count: number): Uint8Array {
    const at = this.#advance(count)
    return this.#bytes.subarray(at, at + count)
  }

  text(): string {
    const bytes = this.raw(this.u8())
    for (const byte of bytes) {
      if (byte < 0x20 || byte > 0x7e) throw new Malformed('not ASCII')
    }
    // At most 255 arguments, and without the iterator of a spread. One flat string: patterns are
    // tried on it next.
    return String.fromCharCode.apply(null, bytes as unknown as number[])
  }

  end(): void {
    if (this.left !== 0) throw new Malformed('bytes after the end')
  }

  #advance(count: number): number {
    const at = this.#at
    if (count > this.left) throw new Malformed('cut short')
    this.#at += count
    return at
  }
}

export function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Malformed(what)
}

/**
 * Returns the result of `read`, or null when the bytes are not what it expects; other errors are
 * ours and pass.
 */
export function parsedOrNull<T>(bytes: Uint8Array, read: (reader: ByteReader) => T): T | null {
  try {
    const reader = new ByteReader(bytes)
    const value = read(reader)
    reader.end()
    return value
  } catch (error) {
    if (error instanceof Malformed) return null
    throw error
  }
}

const hexPairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** As `toHex`, by table: this runs several times for every message. */
export function fastHex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += hexPairs[byte] ?? ''
  return text
}

export function hexBytes(hex: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(hex.length / 2)
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = (nibble(hex, i * 2) << 4) | nibble(hex, i * 2 + 1)
  }
  return bytes
}

/** The value of one digit, `0-9` or `a-f`; the callers have checked that it is one. */
function nibble(hex: string, at: number): number {
  const code = hex.charCodeAt(at)
  return code < 0x3a ? code - 0x30 : code - 0x57
}
