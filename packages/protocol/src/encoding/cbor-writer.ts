const encoder = new TextEncoder()

/** Below this many characters a plain loop beats the call into TextEncoder. */
const loopCharactersMax = 96

const twoTo32 = 0x1_0000_0000

/**
 * Appends deterministic CBOR items (RFC 8949, section 4.2.1) to one growing buffer. A caller that
 * opens an array or a map writes exactly the announced number of items, map keys in bytewise order.
 */
export class CborWriter {
  #bytes: Uint8Array
  #at = 0

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity)
  }

  /** A copy of what was written; the writer can go on. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#at)
  }

  head(major: number, argument: number): void {
    this.#reserve(9)
    const bytes = this.#bytes
    const type = major << 5
    if (argument < 24) {
      bytes[this.#at++] = type | argument
    } else if (argument < 0x100) {
      bytes[this.#at++] = type | 24
      bytes[this.#at++] = argument
    } else if (argument < 0x10000) {
      bytes[this.#at++] = type | 25
      bytes[this.#at++] = argument >>> 8
      bytes[this.#at++] = argument
    } else if (argument < twoTo32) {
      bytes[this.#at++] = type | 26
      this.#word(argument)
    } else {
      bytes[this.#at++] = type | 27
      this.#word(Math.floor(argument / twoTo32))
      this.#word(argument % twoTo32)
    }
  }

  /** A safe integer of either sign. */
  integer(value: number): void {
    if (!Number.isSafeInteger(value)) throw new TypeError('CBOR integers are safe integers here')
    if (value >= 0) this.head(0, value)
    else this.head(1, -1 - value)
  }

  bigInteger(value: bigint): void {
    const argument = value >= 0n ? value : -1n - value
    if (argument > 0xffff_ffff_ffff_ffffn) throw new TypeError('CBOR integers have 64 bits')
    const major = value >= 0n ? 0 : 1
    if (argument <= 0xffff_ffffn) return this.head(major, Number(argument))
    this.#reserve(9)
    this.#bytes[this.#at++] = (major << 5) | 27
    this.#word(Number(argument >> 32n))
    this.#word(Number(argument & 0xffff_ffffn))
  }

  byteString(bytes: Uint8Array): void {
    this.head(2, bytes.length)
    this.raw(bytes)
  }

  text(value: string): void {
    if (value.length <= loopCharactersMax && this.#asciiText(value)) return
    if (!value.isWellFormed()) throw new TypeError('CBOR text is well-formed Unicode')
    const bytes = encoder.encode(value)
    this.head(3, bytes.length)
    this.raw(bytes)
  }

  /** Bytes that are already CBOR. */
  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.length
  }

  /** False, with nothing written, unless every character is ASCII. */
  #asciiText(value: string): boolean {
    const start = this.#at
    this.head(3, value.length)
    this.#reserve(value.length)
    const bytes = this.#bytes
    let at = this.#at
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i)
      if (code > 0x7f) {
        this.#at = start
        return false
      }
      bytes[at++] = code
    }
    this.#at = at
    return true
  }

  #word(value: number): void {
    const bytes = this.#bytes
    bytes[this.#at++] = value >>> 24
    bytes[this.#at++] = value >>> 16
    bytes[this.#at++] = value >>> 8
    bytes[this.#at++] = value
  }

  #reserve(count: number): void {
    const needed = this.#at + count
    if (needed <= this.#bytes.length) return
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
    larger.set(this.#bytes.subarray(0, this.#at))
    this.#bytes = larger
  }
}
