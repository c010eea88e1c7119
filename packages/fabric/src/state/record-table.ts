import type { RecordBounds } from './record-store.ts'

interface Linked<T> {
  older: T | null
  newer: T | null
}

/** Items in the order in which they came. Each leaves without a look at the others. */
class Line<T extends Linked<T>> {
  oldest: T | null = null
  #newest: T | null = null

  append(item: T): void {
    item.older = this.#newest
    item.newer = null
    if (this.#newest === null) this.oldest = item
    else this.#newest.newer = item
    this.#newest = item
  }

  remove({ older, newer }: T): void {
    if (older === null) this.oldest = newer
    else older.newer = newer
    if (newer === null) this.#newest = older
    else newer.older = older
  }
}

/** A record in memory. `expiresAt` is on the clock of the caller of `find`. */
export interface TableRow<Value> {
  readonly key: string
  readonly owner: string
  readonly value: Value
  readonly expiresAt: number
}

interface Row<Value> extends TableRow<Value>, Linked<Row<Value>> {
  readonly share: Share<Value>
  value: Value
  expiresAt: number
}

/** The rows of one owner, in the order in which they were added. */
interface Share<Value> extends Linked<Share<Value>> {
  readonly owner: string
  readonly rows: Line<Row<Value>>
  size: number
}

/**
 * The records of one collection in memory, within the bounds of `RecordStore`. Receivers choose the
 * ids and how many there are, so that each step takes the same time however many rows there are.
 */
export class RecordTable<Value> {
  readonly #bounds: RecordBounds
  readonly #onForget: (key: string) => void
  readonly #rows = new Map<string, Row<Value>>()
  readonly #shares = new Map<string, Share<Value>>()
  readonly #sizes = new SharesBySize<Value>()
  #sweeper: Iterator<Row<Value>> | null = null

  /** `onForget` is called for each row that leaves, for whatever reason. */
  constructor(bounds: RecordBounds, onForget: (key: string) => void = () => undefined) {
    this.#bounds = bounds
    this.#onForget = onForget
  }

  get size(): number {
    return this.#rows.size
  }

  find(key: string, now: number): TableRow<Value> | null {
    const row = this.#rows.get(key)
    if (row === undefined) return null
    if (row.expiresAt > now) return row
    this.#forget(row)
    return null
  }

  /** A row that exists keeps its owner and its age; true for a row that did not exist. */
  put({ key, owner, value, expiresAt }: TableRow<Value>): boolean {
    const known = this.#rows.get(key)
    if (known !== undefined) {
      known.value = value
      known.expiresAt = expiresAt
      return false
    }
    const share = this.#shareOf(owner)
    const row: Row<Value> = { key, owner, value, expiresAt, share, older: null, newer: null }
    share.rows.append(row)
    this.#rows.set(key, row)
    this.#sizes.resize(share, 1)
    if (share.size > this.#bounds.perOwnerMax) this.#forget(share.rows.oldest)
    if (this.#rows.size > this.#bounds.countMax) this.#forget(this.#sizes.largest()?.rows.oldest)
    return true
  }

  delete(key: string): boolean {
    const row = this.#rows.get(key)
    this.#forget(row)
    return row !== undefined
  }

  /** Looks at up to `max` rows, from where the last look ended; returns how many had expired. */
  sweep(now: number, max: number): number {
    let found = 0
    for (let looked = 0; looked < max; looked++) {
      this.#sweeper ??= this.#rows.values()
      const next = this.#sweeper.next()
      if (next.done === true) {
        this.#sweeper = null
        break
      }
      if (next.value.expiresAt > now) continue
      this.#forget(next.value)
      found++
    }
    return found
  }

  /** In the order in which they were added. */
  values(): Iterable<TableRow<Value>> {
    return this.#rows.values()
  }

  #shareOf(owner: string): Share<Value> {
    const found = this.#shares.get(owner)
    if (found !== undefined) return found
    const share = { owner, rows: new Line<Row<Value>>(), size: 0, older: null, newer: null }
    this.#shares.set(owner, share)
    return share
  }

  #forget(row: Row<Value> | null | undefined): void {
    if (row === null || row === undefined) return
    const { share, key } = row
    share.rows.remove(row)
    this.#sizes.resize(share, -1)
    if (share.size === 0) this.#shares.delete(share.owner)
    this.#rows.delete(key)
    this.#onForget(key)
  }
}

/** Finds the largest share without a look at the others: there may be as many as rows. */
class SharesBySize<Value> {
  readonly #bySize: Line<Share<Value>>[] = []
  #max = 0

  /** Of several, the one that has been so large for the longest. */
  largest(): Share<Value> | null {
    return this.#bySize[this.#max]?.oldest ?? null
  }

  resize(share: Share<Value>, by: 1 | -1): void {
    if (share.size > 0) this.#bySize[share.size]?.remove(share)
    share.size += by
    if (share.size > 0) (this.#bySize[share.size] ??= new Line()).append(share)
    if (share.size > this.#max) this.#max = share.size
    // The last one of that size is now among the largest, at one less.
    else if (by < 0 && this.#bySize[this.#max]?.oldest === null) this.#max--
  }
}
