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

/** The subjects of the log, whose own keys hash their names. */
export interface TermSubjects {
  /** Every key of the subject of that name; the first is that of entries to come. */
  findAll(value: string): Iterable<{ readonly key: Uint8Array }>
  onChange(listener: () => void): void
}

/** Tables whose values name principals. */
const subjectTables: ReadonlySet<TermTable> = new Set(['caller', 'user', 'receiver'])

/**
 * The keys of the term index: 48 bits of an HMAC, so that its files show which entries have a value
 * in common, and neither the values nor which table a row is of. The name of a subject is hashed
 * under the key of that subject: once it is erased, its rows are random bits.
 */
export class TermKeys {
  readonly #key: Uint8Array
  readonly #subjects: TermSubjects | null
  #cached = emptyCache()
  #count = 0

  /** `detailKey` is that of the log slot, under which the facts themselves are encrypted. */
  constructor(detailKey: Uint8Array, origin: string, subjects: TermSubjects | null = null) {
    this.#subjects = subjects
    subjects?.onChange(() => this.#forget())
    const info = `countersign ledger index v1 ${origin}`
    this.#key = new Uint8Array(hkdfSync('sha256', detailKey, '', info, 32))
  }

  /** An integer of 48 bits. The one place that decides which key a row is hashed under. */
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

  /**
   * Every key that rows of the value can have: of the subject before and after it returned, and of
   * a receiver that was not a subject yet.
   */
  searchKeys(table: TermTable, value: string): readonly number[] {
    const own = [...this.#subjectsOf(table, value)].map(({ key }) => hash(key, table, value))
    return [...own, hash(this.#key, table, value)]
  }

  #derive(table: TermTable, value: string): number {
    for (const { key } of this.#subjectsOf(table, value)) return hash(key, table, value)
    return hash(this.#key, table, value)
  }

  #subjectsOf(table: TermTable, value: string): Iterable<{ readonly key: Uint8Array }> {
    const isOfSubject = this.#subjects !== null && subjectTables.has(table)
    return isOfSubject ? this.#subjects.findAll(value) : []
  }

  #forget(): void {
    this.#cached = emptyCache()
    this.#count = 0
  }
}

function hash(key: Uint8Array, table: TermTable, value: string): number {
  const bytes = Buffer.from(`\0${value}`)
  bytes[0] = TERM_TABLES[table]
  return hmacSha256(key, bytes).readUIntBE(0, 6)
}

function emptyCache(): Readonly<Record<TermTable, Map<string, number>>> {
  const table = () => new Map<string, number>()
  return {
    ...{ caller: table(), user: table(), receiver: table(), operation: table() },
    ...{ tool: table(), result: table(), code: table() },
  }
}
