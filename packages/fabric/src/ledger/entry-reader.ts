import { type Leaf, MalformedError, parseLeaf } from '@countersign/protocol'
import { type DetailVault, referencesOf } from './details.ts'
import { openFacts, type SaltedFact } from './facts.ts'
import { leafHash } from './hash.ts'
import type { OpenedEntry } from './ledger-reads.ts'
import type { PrunedPart } from './pruned-part.ts'
import type { Pace } from './read-turns.ts'
import type { LoggedEntry } from './record.ts'
import { LedgerDamage, type ResourceStore } from './store.ts'
import { type GroupIndex, groupEntries } from './tile-groups.ts'
import { findDetail, parseBundle, tilePath, tileWidth } from './tiles.ts'
import type { Tree } from './tree.ts'
import type { Window } from './window.ts'

/** An entry with all that it commits to. */
export interface ReadEntry {
  readonly index: number
  /** As the tree hashes it. */
  readonly encoded: Uint8Array
  readonly leaf: Leaf
  readonly facts: readonly SaltedFact[]
  /**
   * Null for an entry that opens. Otherwise one of its subjects was erased, so that it has no facts
   * here, and these are the others that it names.
   */
  readonly erased: readonly string[] | null
  /** The length of leaf and detail, as they are stored. */
  readonly bytes: number
}

/** The parts of a bundle that its entries share. */
interface OpenBundle {
  readonly tile: number
  readonly leaves: readonly Uint8Array[]
  /** The places of the details. */
  readonly table: Uint8Array
  /** Details that were read in advance, from the position `start` of their file on. */
  ahead: { readonly start: number; readonly bytes: Uint8Array }
  /** The last entry that was read of it. */
  last: number
}

/** Read in advance for a reader that goes on to the next entry. */
const aheadBytes = 256 * 1024

export interface EntryReaderParts {
  readonly resources: ResourceStore
  readonly window: Window
  readonly tree: Tree
  readonly vault: DetailVault
  readonly groups: GroupIndex
  readonly pruned: PrunedPart
  readonly subjects: { nameOf(reference: Uint8Array): string | null }
}

/** Entries of one exchange that are read at once. */
const readsAtOnce = 8

/** Reads entries from memory, or from full bundles; a partial bundle is always in the window. */
export class EntryReader {
  readonly #parts: EntryReaderParts

  constructor(parts: EntryReaderParts) {
    this.#parts = parts
  }

  /**
   * Rejects with LedgerDamage when the entry is not the one in the tree, or its detail not its own,
   * and with EntriesPruned when it was pruned.
   */
  async read(index: number): Promise<ReadEntry> {
    for await (const entry of this.readMany([index], null)) return entry
    throw new LedgerDamage(`entry ${index} is missing`)
  }

  /** The hash of an entry in the tree. */
  leafHash(index: number): Promise<Uint8Array> {
    return this.#parts.tree.leafHash(index)
  }

  /** The index of the first entry of kind `batch` of this range; null if there is none. */
  async findBatch(from: number, end: number): Promise<number | null> {
    const { window, resources } = this.#parts
    let leaves: readonly Uint8Array[] = []
    let tile = -1
    for (let index = from; index < end; index++) {
      let leaf = window.find(index)?.leaf
      if (leaf === undefined) {
        if (tile !== Math.floor(index / tileWidth)) {
          tile = Math.floor(index / tileWidth)
          const bundle = await resources.read(tilePath('entries', tile))
          leaves = bundle === null ? [] : parseBundle(bundle, tileWidth)
        }
        leaf = leaves[index % tileWidth]
      }
      if (leaf === undefined) throw new LedgerDamage(`entry ${index} is missing`)
      if (readLeaf(leaf, index).kind === 'batch') return index
    }
    return null
  }

  /** Reads entries that are far from each other: of each, its group and not the whole bundle. */
  async readFew(indexes: readonly number[]): Promise<readonly ReadEntry[]> {
    const entries: ReadEntry[] = []
    for (let at = 0; at < indexes.length; at += readsAtOnce) {
      const some = indexes.slice(at, at + readsAtOnce).map((index) => this.#readOne(index))
      entries.push(...(await Promise.all(some)))
    }
    return entries
  }

  async #readOne(index: number): Promise<ReadEntry> {
    this.#parts.pruned.assertLeft(index)
    const logged = this.#parts.window.find(index) ?? (await this.#loadFromGroup(index))
    return logged === null ? this.read(index) : this.#opened(index, logged)
  }

  /** Null without a valid index of groups: the caller then reads the whole bundle. */
  async #loadFromGroup(index: number): Promise<LoggedEntry | null> {
    const { groups, resources, tree } = this.#parts
    const tile = Math.floor(index / tileWidth)
    const found = await groups.find(tile)
    if (found === null) return null
    const within = index % tileWidth
    const [start, end] = found.range(Math.floor(within / groupEntries))
    if (end <= start || end - start > groupBytesMax) return null
    const [part, expected, detail] = await Promise.all([
      resources.readPart(tilePath('entries', tile), start, end - start),
      tree.leafHash(index),
      this.#detailOf(tile, within),
    ])
    const leaf = part === null ? undefined : leafIn(part, within % groupEntries)
    if (leaf === undefined || !leafHash(leaf).equals(expected)) return null
    return { leaf, detail }
  }

  async #detailOf(tile: number, within: number): Promise<Uint8Array> {
    const { resources } = this.#parts
    const path = tilePath('detail', tile)
    const table = await resources.readPart(path, 0, tileWidth * 4)
    if (table === null) throw this.#missing(tile, path)
    const { start, length } = findDetail(table, within, tileWidth)
    const bytes = await resources.readPart(path, start, length)
    if (bytes === null) throw this.#missing(tile, path)
    if (bytes.length !== length) throw new LedgerDamage(`detail bundle ${tile} ends early`)
    return bytes
  }

  #opened(index: number, { leaf: encoded, detail }: LoggedEntry): ReadEntry {
    const leaf = readLeaf(encoded, index)
    const plaintext = this.#parts.vault.unseal(index, detail)
    const facts = plaintext === null ? [] : openFacts(plaintext, leaf.facts)
    const erased = plaintext === null ? this.#othersOf(index, detail) : null
    return { index, encoded, leaf, facts, erased, bytes: encoded.length + detail.length }
  }

  /**
   * Reads entries in the given order, each at its pace. Neighbours share the reads of their bundle.
   */
  async *readMany(indexes: Iterable<number>, pace: Pace | null): AsyncGenerator<ReadEntry> {
    const { window } = this.#parts
    let bundle: OpenBundle | null = null
    for (const index of indexes) {
      const turn = pace === null ? null : pace()
      if (turn !== null) await turn
      this.#parts.pruned.assertLeft(index)
      let logged = window.find(index)
      if (logged === undefined) {
        const tile = Math.floor(index / tileWidth)
        if (bundle?.tile !== tile) bundle = await this.#open(tile)
        logged = await this.#load(index, bundle)
      }
      yield this.#opened(index, logged)
    }
  }

  #othersOf(index: number, detail: Uint8Array): readonly string[] {
    const names = referencesOf(index, detail).map((each) => this.#parts.subjects.nameOf(each))
    return names.filter((name) => name !== null)
  }

  /** Pruning may remove the file of an entry that a reader has just asked for. */
  #missing(tile: number, path: string): Error {
    return this.#parts.pruned.missing(tile * tileWidth, path)
  }

  async #open(tile: number): Promise<OpenBundle> {
    const { resources } = this.#parts
    const [entriesPath, detailPath] = [tilePath('entries', tile), tilePath('detail', tile)]
    const bundle = await resources.read(entriesPath)
    if (bundle === null) throw this.#missing(tile, entriesPath)
    const details = await resources.readPart(detailPath, 0, tileWidth * 4)
    if (details === null) throw this.#missing(tile, detailPath)
    const ahead = { start: 0, bytes: new Uint8Array(0) }
    const leaves = parseBundle(bundle, tileWidth)
    return { tile, leaves, table: details, ahead, last: -1 }
  }

  async #load(index: number, bundle: OpenBundle): Promise<LoggedEntry> {
    const { tree } = this.#parts
    const within = index % tileWidth
    const leaf = bundle.leaves[within]
    if (leaf === undefined) throw new LedgerDamage(`entry ${index} is missing`)
    if (!(await tree.leafHash(index)).equals(leafHash(leaf))) {
      throw new LedgerDamage(`entry ${index} is not the one that was hashed`)
    }
    return { leaf, detail: await this.#detail(bundle, within) }
  }

  async #detail(bundle: OpenBundle, within: number): Promise<Uint8Array> {
    const { start, length } = findDetail(bundle.table, within, tileWidth)
    const isNext = within === bundle.last + 1 && bundle.last !== -1
    bundle.last = within
    const from = start - bundle.ahead.start
    if (from < 0 || from + length > bundle.ahead.bytes.length) {
      const path = tilePath('detail', bundle.tile)
      const wanted = isNext ? Math.max(length, aheadBytes) : length
      const bytes = await this.#parts.resources.readPart(path, start, wanted)
      if (bytes === null) throw this.#missing(bundle.tile, path)
      if (bytes.length < length) {
        throw new LedgerDamage(`detail bundle ${bundle.tile} ends early`)
      }
      bundle.ahead = { start, bytes }
      return bytes.subarray(0, length)
    }
    return bundle.ahead.bytes.subarray(from, from + length)
  }
}

/** An entry is at most 65,535 bytes, and its length has two. */
const groupBytesMax = groupEntries * 65_537

/** The entry at position `at`; undefined where the lengths lead beyond the bytes. */
function leafIn(part: Uint8Array, at: number): Uint8Array | undefined {
  let start = 0
  for (let i = 0; ; i++) {
    const end = start + 2 + (((part[start] ?? 0) << 8) | (part[start + 1] ?? 0))
    if (end > part.length) return undefined
    if (i === at) return part.subarray(start + 2, end)
    start = end
  }
}

/** As `parseLeaf`; throws LedgerDamage, which names the entry. */
export function readLeaf(bytes: Uint8Array, index: number): Leaf {
  try {
    return parseLeaf(bytes)
  } catch (cause) {
    if (!(cause instanceof MalformedError)) throw cause
    throw new LedgerDamage(`the leaf of entry ${index} is malformed`, { cause })
  }
}

export function openedEntry({ index, leaf, facts, erased }: ReadEntry): OpenedEntry {
  return {
    ...(erased === null ? {} : { erased }),
    kind: leaf.kind,
    exchange: leaf.exchange,
    index,
    at: leaf.at,
    facts: Object.fromEntries(facts.map(({ name, value }) => [name, value])),
  }
}
