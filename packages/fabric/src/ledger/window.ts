import type { LoggedEntry } from './record.ts'
import { tileWidth } from './tiles.ts'

/**
 * The newest entries, in memory: all that are in no tile yet, those that share a bundle with the
 * next one to be written, and as many older ones as fit, for receipts.
 */
export class Window {
  readonly #entries = new Map<number, LoggedEntry>()
  readonly #bytesMax: number
  #bytes = 0
  #published = 0
  #unpublishedBytes = 0

  constructor(published: number, bytesMax: number) {
    this.#published = published
    this.#bytesMax = bytesMax
  }

  get unpublishedBytes(): number {
    return this.#unpublishedBytes
  }

  find(index: number): LoggedEntry | undefined {
    return this.#entries.get(index)
  }

  /** Indexes come in ascending order. */
  add(index: number, entry: LoggedEntry): void {
    this.#entries.set(index, entry)
    this.#bytes += cost(entry)
    if (index >= this.#published) this.#unpublishedBytes += cost(entry)
  }

  /** Entries next to each other, from the index `first` on. */
  addGroup(first: number, group: readonly LoggedEntry[]): void {
    for (const [i, { leaf, detail }] of group.entries()) this.add(first + i, { leaf, detail })
  }

  /** The first `size` entries are in tiles now. */
  publish(size: number): void {
    for (let index = this.#published; index < size; index++) {
      const entry = this.#entries.get(index)
      if (entry !== undefined) this.#unpublishedBytes -= cost(entry)
    }
    this.#published = size
    const needed = size - (size % tileWidth)
    for (const [index, entry] of this.#entries) {
      if (this.#bytes <= this.#bytesMax || index >= needed) break
      this.#entries.delete(index)
      this.#bytes -= cost(entry)
    }
  }
}

/** A map slot and two views cost about as much as a leaf. */
const overheadBytes = 400

function cost({ leaf, detail }: LoggedEntry): number {
  return leaf.length + detail.length + overheadBytes
}
