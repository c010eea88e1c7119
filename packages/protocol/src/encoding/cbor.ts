import { parseUtf8 } from './bytes.ts'
import { CborWriter } from './cbor-writer.ts'
import { MalformedError } from './malformed-error.ts'

/**
 * The CBOR that we sign and hash: deterministic (RFC 8949, section 4.2.1), without floats,
 * undefined, indefinite lengths or keys other than integers and text. Integers beyond 2^53 are
 * bigints, all others numbers, so that a value has one form in memory as well.
 */
export type CborValue =
  | number
  | bigint
  | string
  | Uint8Array
  | boolean
  | null
  | readonly CborValue[]
  | ReadonlyMap<number | string, CborValue>
  | CborTag

export class CborTag {
  readonly tag: number
  readonly value: CborValue

  constructor(tag: number, value: CborValue) {
    this.tag = tag
    this.value = value
  }
}

export interface CborLimits {
  readonly depthMax?: number
  readonly bytesMax?: number
}

/** Nothing that is signed or hashed nests deeper than four; sixteen levels risk no stack. */
const depthMaxDefault = 16
const bytesMaxDefault = 1024 * 1024

export function encodeCbor(value: CborValue): Uint8Array {
  const writer = new CborWriter()
  writeValue(writer, value, depthMaxDefault)
  return writer.finish()
}

/**
 * Throws a MalformedError unless `bytes` are exactly one item in its one deterministic encoding.
 */
export function decodeCbor(bytes: Uint8Array, limits: CborLimits = {}): CborValue {
  if (bytes.length > (limits.bytesMax ?? bytesMaxDefault)) {
    throw new MalformedError('CBOR is larger than its limit')
  }
  const reader = new CborReader(bytes)
  const value = reader.read(limits.depthMax ?? depthMaxDefault)
  reader.end()
  return value
}

function writeValue(writer: CborWriter, value: CborValue, depth: number): void {
  if (depth < 0) throw new TypeError('CBOR nests deeper than its limit')
  if (typeof value === 'number') return writer.integer(value)
  if (typeof value === 'bigint') return writer.bigInteger(value)
  if (typeof value === 'string') return writer.text(value)
  if (typeof value === 'boolean') return writer.head(7, value ? 21 : 20)
  if (value === null) return writer.head(7, 22)
  if (value instanceof Uint8Array) return writer.byteString(value)
  if (value instanceof CborTag) {
    if (!Number.isSafeInteger(value.tag) || value.tag < 0) throw new TypeError('not a CBOR tag')
    writer.head(6, value.tag)
    return writeValue(writer, value.value, depth - 1)
  }
  if (value instanceof Map) return writeMap(writer, value, depth)
  if (!Array.isArray(value)) throw new TypeError('not a CBOR value')
  writer.head(4, value.length)
  for (const item of value as readonly CborValue[]) writeValue(writer, item, depth - 1)
}

function writeMap(
  writer: CborWriter,
  map: ReadonlyMap<number | string, CborValue>,
  depth: number,
): void {
  const members = [...map].map(([key, value]) => ({ key: encodeCbor(key), value }))
  members.sort((a, b) => compareBytes(a.key, b.key))
  writer.head(5, members.length)
  for (const { key, value } of members) {
    writer.raw(key)
    writeValue(writer, value, depth - 1)
  }
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

class CborReader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw new MalformedError('bytes follow the CBOR item')
  }

  read(depth: number): CborValue {
    if (depth < 0) throw new MalformedError('CBOR nests deeper than its limit')
    const first = this.#byte()
    const major = first >> 5
    if (major === 7) return simple(first)
    const argument = this.#argument(first & 0x1f)
    if (major === 0) return argument
    if (major === 1) return negative(argument)
    const count = Number(argument)
    if (major === 2) return this.#take(count).slice()
    if (major === 3) return text(this.#take(count))
    if (major === 4) return this.#array(count, depth)
    if (major === 5) return this.#map(count, depth)
    if (typeof argument === 'bigint') throw new MalformedError('CBOR tag out of range')
    return new CborTag(argument, this.read(depth - 1))
  }

  #array(count: number, depth: number): CborValue {
    this.#expect(count)
    const items: CborValue[] = []
    for (let i = 0; i < count; i++) items.push(this.read(depth - 1))
    return items
  }

  #map(count: number, depth: number): CborValue {
    this.#expect(count * 2)
    const map = new Map<number | string, CborValue>()
    let before: Uint8Array | null = null
    for (let i = 0; i < count; i++) {
      const start = this.#at
      const key = this.read(0)
      if (typeof key !== 'number' && typeof key !== 'string') {
        throw new MalformedError('CBOR map keys are integers or text')
      }
      const encoded = this.#bytes.subarray(start, this.#at)
      // Strictly ascending: one rule against disorder and against duplicates.
      if (before !== null && compareBytes(before, encoded) >= 0) {
        throw new MalformedError('CBOR map keys are not in ascending order')
      }
      before = encoded
      map.set(key, this.read(depth - 1))
    }
    return map
  }

  #argument(info: number): number | bigint {
    if (info < 24) return info
    if (info === 24) return minimal(this.#byte(), 24)
    if (info === 25) return minimal((this.#byte() << 8) | this.#byte(), 0x100)
    if (info === 26) return minimal(this.#word(), 0x10000)
    if (info !== 27) throw new MalformedError('CBOR with indefinite length or reserved head')
    const high = minimal(this.#word(), 1)
    const low = this.#word()
    if (high <= 0x1f_ffff) return high * 0x1_0000_0000 + low
    return (BigInt(high) << 32n) | BigInt(low)
  }

  #word(): number {
    const high = (this.#byte() << 8) | this.#byte()
    return high * 0x10000 + ((this.#byte() << 8) | this.#byte())
  }

  #byte(): number {
    const byte = this.#bytes[this.#at]
    if (byte === undefined) throw new MalformedError('CBOR ends early')
    this.#at++
    return byte
  }

  #take(count: number): Uint8Array {
    this.#expect(count)
    this.#at += count
    return this.#bytes.subarray(this.#at - count, this.#at)
  }

  /** Every item takes a byte at least, so a claimed count can never make us allocate ahead. */
  #expect(count: number): void {
    if (count > this.#bytes.length - this.#at) throw new MalformedError('CBOR ends early')
  }
}

function minimal(argument: number, least: number): number {
  if (argument < least) throw new MalformedError('CBOR head is not in its shortest form')
  return argument
}

function negative(argument: number | bigint): number | bigint {
  if (typeof argument === 'bigint' || argument === Number.MAX_SAFE_INTEGER) {
    return -1n - BigInt(argument)
  }
  return -1 - argument
}

function simple(first: number): boolean | null {
  if (first === 0xf4) return false
  if (first === 0xf5) return true
  if (first === 0xf6) return null
  throw new MalformedError('CBOR float, undefined or unassigned simple value')
}

function text(bytes: Uint8Array): string {
  try {
    return parseUtf8(bytes)
  } catch {
    throw new MalformedError('CBOR text is not UTF-8')
  }
}
