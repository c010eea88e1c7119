import { hkdfSync } from 'node:crypto'
import { hmacSha256 } from '../lib/hmac.ts'
import type { TermTable } from './ledger-reads.ts'
import { TERM_TABLES } from './terms.ts'

interface SummedPart {
  /** Its hash in the tree. */
  readonly lastLeaf: Uint8Array
  readonly place: number
  readonly bytes: Uint8Array
}

/** Not the number of a table: no key of a value is a checksum. */
const sumTable = 0
const headBytes = 11

/** Keys that are kept; longer values are hashed each time. */
const cachedMax = 16_384
const cachedLengthMax = 256

/**
 * The keys of the term index: 48 bits of an HMAC, so that its files show which entries have a value
 * in common, and neither the values nor which table a row is of.
 */
export class TermKeys {
  readonly #key: Uint8Array
  #cached = emptyCache()
  #count = 0

  /** `detailKey` is that of the log slot, under which the facts themselves are encrypted. */
  constructor(detailKey: Uint8Array, origin: string) {
    const info = `countersign ledger index v1 ${origin}`
    this.#key = new Uint8Array(hkdfSync('sha256', detailKey, '', info, 32))
  }

  /** An integer of 48 bits. The one place that decides which key a value is hashed under. */
  indexKey(table: TermTable, value: string): number {
    if (value.length > cachedLengthMax) return this.#derive(table, value)
    const known = this.#cached[table].get(value)
    if (known !== undefined) return known
    if (this.#count >= cachedMax) this.#forget()
    const key = this.#derive(table, value)
    this.#cached[table].set(value, key)
    this.#count += 1
    return key
  }

  /**
   * A checksum of 32 bits for a part of the index, which binds it to its place in the file, to its
   * segment and to the last entry of that: a holder of the disk cannot put one in place of another.
   */
  sum(segment: number, { lastLeaf, place, bytes }: SummedPart): number {
    const head = Buffer.alloc(headBytes + lastLeaf.length)
    head[0] = sumTable
    head.writeUIntBE(segment, 1, 6)
    head.writeUInt32BE(place, 7)
    head.set(lastLeaf, headBytes)
    return hmacSha256(this.#key, Buffer.concat([head, bytes])).readUInt32BE(0)
  }

  #derive(table: TermTable, value: string): number {
    const bytes = Buffer.from(`\0${value}`)
    bytes[0] = TERM_TABLES[table]
    return hmacSha256(this.#key, bytes).readUIntBE(0, 6)
  }

  #forget(): void {
    this.#cached = emptyCache()
    this.#count = 0
  }
}

function emptyCache(): Readonly<Record<TermTable, Map<string, number>>> {
  const table = () => new Map<string, number>()
  return {
    ...{ caller: table(), user: table(), receiver: table(), operation: table() },
    ...{ tool: table(), result: table(), code: table() },
  }
}
