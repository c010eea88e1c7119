import type { Clock } from '../lib/clock.ts'
import {
  type AddedRecord,
  findEachMax,
  RECORD_BOUNDS,
  type RecordBounds,
  type RecordCollection,
  type RecordStore,
  type StoredRecord,
} from './record-store.ts'
import { RecordTable, type TableRow } from './record-table.ts'

/** Between two reads of what was added by other processes. */
const pollMs = 200
/**
 * A cache whose last read is longer ago may have been paused or cut off: it reads again before it
 * decides.
 */
export const recordStaleMs = 2_000
/** Read in one step, some milliseconds; others' requests are served between two steps. */
const stepMax = 500
/** Rows looked at for each row that is added: expired ones leave faster than new ones come. */
const sweepPerRow = 2
/** Of a claim whose key is taken, and absent again when it is looked at. */
const claimsMax = 3

export interface RecordCacheOptions {
  readonly store: RecordStore
  readonly collection: RecordCollection
  readonly clock: Pick<Clock, 'monotonic'>
  /** Of every record; one that is in use in its second half is extended. */
  readonly lifetimeMs: number
  /** Time for which a value is used without another read. Infinity where it is written once. */
  readonly freshMs: number
  /** Of the records in memory: those of the collection, except in tests. */
  readonly bounds?: RecordBounds
  readonly onAdd?: (key: string) => void
  readonly onForget?: (key: string) => void
}

interface Cached {
  readonly value: string
  /** On the monotonic clock. */
  readonly freshUntil: number
}

/**
 * Records of one collection in memory, within the bounds of the collection. Only what exists is
 * cached: a key that was absent is read again each time.
 */
export class RecordCache {
  readonly #options: RecordCacheOptions
  readonly #table: RecordTable<Cached>
  readonly #extending = new Set<string>()
  /** The sequence up to which added records were read. */
  #after = 0
  /** When the last complete read began. Infinity for a cache that does not follow others. */
  #readAt = Number.POSITIVE_INFINITY
  #reading: Promise<void> | null = null
  #timer: NodeJS.Timeout | undefined

  constructor(options: RecordCacheOptions) {
    this.#options = options
    const { collection, onForget } = options
    this.#table = new RecordTable(options.bounds ?? RECORD_BOUNDS[collection], onForget)
  }

  /**
   * Returns the value that memory holds. It may have ended since, at another process, and one that
   * another process added a moment ago may be absent.
   */
  held(key: string): string | null {
    return this.#held(key)?.value.value ?? null
  }

  async find(key: string): Promise<string | null> {
    return (await this.findEach([key])).get(key) ?? null
  }

  /** Returns those that exist, by key. At most `findEachMax` keys are read; others are absent. */
  async findEach(keys: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const { store, collection, clock } = this.#options
    const found = new Map<string, string>()
    const missing = new Set<string>()
    const now = clock.monotonic()
    for (const key of keys) {
      const row = this.#held(key)
      if (row !== null && row.value.freshUntil > now) found.set(key, row.value.value)
      else if (missing.size < findEachMax) missing.add(key)
    }
    if (missing.size === 0) return found
    const read = await store.findEach(collection, [...missing])
    for (const key of missing) {
      const record = read.get(key)
      if (record === undefined) {
        this.#table.delete(key)
        continue
      }
      found.set(key, record.value)
      this.#keep(key, record, now)
    }
    return found
  }

  /**
   * Claims a key that is absent, and returns the value that it then has: of the first claim.
   * Resolves when the record is written; rejects when it may not be.
   */
  async claim(key: string, value: string, owner: string): Promise<string> {
    const { store, collection, clock, lifetimeMs } = this.#options
    for (let attempt = 0; attempt < claimsMax; attempt++) {
      const present = attempt === 0 ? this.#fresh(key) : await this.find(key)
      if (present !== null) return present
      const askedAt = clock.monotonic()
      if (await store.put(collection, key, value, { owner, lifetimeMs, expected: null })) {
        this.#keep(key, { value, owner, leftMs: lifetimeMs }, askedAt)
        return value
      }
    }
    throw new Error('a record changed with each claim')
  }

  /** Resolves when the record has this value. */
  async set(key: string, value: string, owner: string): Promise<void> {
    if ((await this.find(key)) === value) return
    const { store, collection, clock, lifetimeMs } = this.#options
    const askedAt = clock.monotonic()
    await store.put(collection, key, value, { owner, lifetimeMs })
    this.#keep(key, { value, owner, leftMs: lifetimeMs }, askedAt)
  }

  async remove(key: string): Promise<void> {
    this.#table.delete(key)
    await this.#options.store.remove(this.#options.collection, key)
    // A read that was under way may have brought it back.
    this.#table.delete(key)
  }

  /**
   * Reads all records, and from then on those that other processes add. Resolves when all are read.
   */
  async follow(): Promise<void> {
    this.#readAt = Number.NEGATIVE_INFINITY
    await this.#read()
    // A failed read is repeated; `current` reports it meanwhile.
    this.#timer = setInterval(() => void this.#read().catch(() => undefined), pollMs)
    this.#timer.unref()
  }

  /** Null when memory was compared with the store a moment ago; otherwise does so, or rejects. */
  current(): Promise<void> | null {
    return this.#options.clock.monotonic() - this.#readAt <= recordStaleMs ? null : this.#read()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #fresh(key: string): string | null {
    const row = this.#held(key)
    return row !== null && row.value.freshUntil > this.#options.clock.monotonic()
      ? row.value.value
      : null
  }

  #held(key: string): TableRow<Cached> | null {
    const now = this.#options.clock.monotonic()
    const row = this.#table.find(key, now)
    if (row !== null && row.expiresAt - now < this.#options.lifetimeMs / 2) this.#extend(row)
    return row
  }

  /** A record that is in use does not expire. One that cannot be extended is extended later. */
  #extend({ key, owner, value: { value } }: TableRow<Cached>): void {
    if (this.#extending.has(key)) return
    this.#extending.add(key)
    const { store, collection, clock, lifetimeMs } = this.#options
    const askedAt = clock.monotonic()
    store
      .put(collection, key, value, { owner, lifetimeMs, expected: value })
      .then((extended) => {
        if (!extended) this.#table.delete(key)
        else this.#keep(key, { value, owner, leftMs: lifetimeMs }, askedAt)
      })
      .catch(() => undefined)
      .finally(() => this.#extending.delete(key))
  }

  #keep(key: string, { value, owner, leftMs }: StoredRecord, askedAt: number): void {
    const cached = { value, freshUntil: askedAt + this.#options.freshMs }
    this.#add({ key, owner, value: cached, expiresAt: askedAt + leftMs })
  }

  #add(row: TableRow<Cached>): void {
    if (this.#table.put(row)) this.#options.onAdd?.(row.key)
    this.#table.sweep(this.#options.clock.monotonic(), sweepPerRow)
  }

  #read(): Promise<void> {
    this.#reading ??= this.#readAdded().finally(() => {
      this.#reading = null
    })
    return this.#reading
  }

  async #readAdded(): Promise<void> {
    const { store, collection, clock } = this.#options
    const stepsMax = Math.ceil(RECORD_BOUNDS[collection].countMax / stepMax) + 1
    for (let step = 0; step < stepsMax; step++) {
      const askedAt = clock.monotonic()
      const added = await store.added(collection, this.#after, stepMax)
      for (const record of added) this.#learn(record, askedAt)
      if (added.length < stepMax) {
        this.#readAt = askedAt
        return
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
    throw new Error('records are added faster than they are read')
  }

  /** The store decides which claim of a key was first, also against what is held here. */
  #learn({ key, owner, value, leftMs, sequence }: AddedRecord, askedAt: number): void {
    this.#after = sequence
    const row = this.#table.find(key, askedAt)
    if (row?.value.value === value) return
    if (row !== null) this.#table.delete(key)
    // It may have ended after the read, also here: a value that can end is read before it is used.
    const isLasting = this.#options.freshMs === Number.POSITIVE_INFINITY
    const freshUntil = isLasting ? this.#options.freshMs : askedAt
    this.#add({ key, owner, value: { value, freshUntil }, expiresAt: askedAt + leftMs })
  }
}
