import {
  type EntryPayload,
  MalformedError,
  parseEntryPayload,
  parseStatement,
} from '@countersign/protocol'
import type { DetailVault } from './details.ts'
import { openFacts, type SaltedFact } from './facts.ts'
import { leafHash } from './hash.ts'
import type { OpenedEntry } from './ledger.ts'
import type { LoggedEntry } from './record.ts'
import { LedgerDamage, type ResourceStore } from './store.ts'
import { findDetail, parseBundle, tilePath, tileWidth } from './tiles.ts'
import type { Tree } from './tree.ts'
import type { Window } from './window.ts'

/** An entry with all that it commits to. */
export interface ReadEntry {
  readonly index: number
  readonly statement: Uint8Array
  readonly payload: EntryPayload
  readonly facts: readonly SaltedFact[]
}

export interface EntryReaderParts {
  readonly resources: ResourceStore
  readonly window: Window
  readonly tree: Tree
  readonly vault: DetailVault
}

/** Reads entries from memory, or from full bundles; a partial bundle is always in the window. */
export class EntryReader {
  readonly #parts: EntryReaderParts

  constructor(parts: EntryReaderParts) {
    this.#parts = parts
  }

  /**
   * Rejects with LedgerDamage when the entry is not the one in the tree, or its detail not its own.
   */
  async read(index: number): Promise<ReadEntry> {
    const { window, vault } = this.#parts
    const { statement, detail } = window.find(index) ?? (await this.#load(index))
    const payload = parsePayload(statement)
    const facts = openFacts(vault.unseal(index, detail), payload.facts)
    return { index, statement, payload, facts }
  }

  async #load(index: number): Promise<LoggedEntry> {
    const { resources, tree } = this.#parts
    const tile = Math.floor(index / tileWidth)
    const within = index % tileWidth
    const bundle = await resources.read(tilePath('entries', tile))
    if (bundle === null) throw new LedgerDamage(`entry bundle ${tile} is missing`)
    const statement = parseBundle(bundle, tileWidth)[within]
    if (statement === undefined) throw new LedgerDamage(`entry ${index} is missing`)
    if (!(await tree.leafHash(index)).equals(leafHash(statement))) {
      throw new LedgerDamage(`entry ${index} is not the one that was hashed`)
    }
    return { statement, detail: await this.#loadDetail(tile, within) }
  }

  async #loadDetail(tile: number, within: number): Promise<Uint8Array> {
    const { resources } = this.#parts
    const path = tilePath('detail', tile)
    const table = await resources.readPart(path, 0, tileWidth * 4)
    if (table === null) throw new LedgerDamage(`detail bundle ${tile} is missing`)
    const { start, length } = findDetail(table, within, tileWidth)
    const detail = await resources.readPart(path, start, length)
    if (detail?.length !== length) throw new LedgerDamage(`detail bundle ${tile} ends early`)
    return detail
  }
}

export function parsePayload(statement: Uint8Array): EntryPayload {
  try {
    return parseEntryPayload(parseStatement(statement).payload)
  } catch (cause) {
    if (!(cause instanceof MalformedError)) throw cause
    throw new LedgerDamage('a statement is malformed', { cause })
  }
}

export function openedEntry({ index, payload, facts }: ReadEntry): OpenedEntry {
  return {
    kind: payload.kind,
    exchange: payload.exchange,
    index,
    at: payload.at,
    facts: Object.fromEntries(facts.map(({ name, value }) => [name, value])),
  }
}
