import { equalBytes, type Leaf, parseUtf8, toBase64 } from '@countersign/protocol'
import { checkOlderBundles, checkTiles } from './check-tiles.ts'
import type { CheckpointVerifier } from './checkpoint.ts'
import type { DetailVault } from './details.ts'
import { readLeaf } from './entry-reader.ts'
import { ErasureCheck } from './erasure-check.ts'
import { closesExchange, type ExchangeIndex, openSince, segmentPath } from './exchange-index.ts'
import { encodeSegment, OpenChanges } from './exchange-segment.ts'
import { openFacts } from './facts.ts'
import { leafHash } from './hash.ts'
import type { LedgerLimits } from './limits.ts'
import type { PrunedPart } from './pruned-part.ts'
import type { Pace } from './read-turns.ts'
import { tileReader } from './recovery.ts'
import { findPublicResource } from './resources.ts'
import { LedgerDamage, type LedgerStore } from './store.ts'
import type { SyncedHead } from './synced-heads.ts'
import { hashBytes, parseBundle, parseDetails, tilePath, tileWidth } from './tiles.ts'
import { Tree } from './tree.ts'

export interface CheckParts {
  readonly store: LedgerStore
  readonly key: CheckpointVerifier
  readonly vault: DetailVault
  readonly limits: LedgerLimits
  readonly pruned: PrunedPart
  /** Called for each entry. */
  readonly pace: Pace
  /** Everything up to here is in files. */
  readonly published: SyncedHead
}

export interface Checked {
  readonly tiles: number
  /** Base64. */
  readonly root: string
  /** Exchanges whose intent nothing closes within the checked size. */
  readonly unclosed: readonly string[]
}

/**
 * Re-derives the published log from its bundles alone, one bundle in memory at a time: bundles hold
 * exactly their entries; each leaf is in its one encoding, and opened by its own detail; the hashes
 * make every tile and the root that was signed, which proves each entry and their order; the
 * exchange index agrees. As many entries name an erased subject as its erasure states. Of pruned
 * entries, the hashes of the tiles take the place of the bundles. Rejects with LedgerDamage on the
 * first difference.
 */
export async function checkLedger(parts: CheckParts): Promise<Checked> {
  const { store, published } = parts
  const signed = await checkHeads(parts)
  const tree = new Tree(() => Promise.reject(new LedgerDamage('a tile was asked for twice')))
  const entries = new EntryCheck(parts)
  let tiles = 0
  for (let first = 0; first < published.size; first += tileWidth) {
    const width = Math.min(tileWidth, published.size - first)
    if (first < parts.pruned.minimum) {
      for (const hash of await loadHashes(parts, first / tileWidth)) tree.append(hash)
      tiles += await checkTiles(store.resources, tree, { first, width })
      tree.release(tree.size)
      continue
    }
    const bundle = await loadBundle(store, first / tileWidth, width)
    for (const leaf of bundle.leaves) tree.append(leafHash(leaf))
    await entries.visit(first, bundle)
    tiles += await checkTiles(store.resources, tree, { first, width })
    if (width < tileWidth) {
      await checkOlderBundles(store.resources, first / tileWidth, bundle.leaves)
    }
    tree.release(tree.size)
  }
  if (!equalBytes(tree.root(), signed.root)) {
    throw new LedgerDamage('the entries do not lead to the root of the checkpoint')
  }
  return { tiles, root: toBase64(tree.root()), unclosed: entries.unclosed }
}

/**
 * An intent without an end within `size` is right only while the exchange is still being worked on,
 * or where it ended since.
 */
export async function checkInFlight(
  unclosed: readonly string[],
  index: ExchangeIndex,
  size: number,
): Promise<void> {
  for (const exchange of unclosed) {
    if (index.open.has(exchange)) continue
    const isNewer = (await index.find(exchange)).some((at) => at >= size)
    if (!isNewer) throw new LedgerDamage(`nothing closes the intent of ${exchange}`)
  }
}

async function checkHeads({ store, key, published }: CheckParts) {
  const bytes = await store.resources.read('checkpoint')
  if (bytes === null) throw new LedgerDamage('the checkpoint is missing')
  const served = key.parseSigned(parseUtf8(bytes))
  const signed = key.parseSigned(published.checkpoint)
  const stored = await store.heads.load()
  if (stored === null || !stored.intact) throw new LedgerDamage('the stored head is damaged')
  if (served.size < signed.size || stored.head.size < served.size) {
    throw new LedgerDamage('the checkpoint and the stored head went back')
  }
  if (served.size === signed.size && !equalBytes(served.root, signed.root)) {
    throw new LedgerDamage('the checkpoint has another root at the same size')
  }
  return signed
}

async function loadHashes({ store, pace }: CheckParts, tile: number) {
  const turn = pace()
  if (turn !== null) await turn
  const bytes = await tileReader({ store })(0, tile, tileWidth)
  return Array.from({ length: tileWidth }, (_, i) =>
    Buffer.from(bytes.subarray(i * hashBytes, (i + 1) * hashBytes)),
  )
}

interface Bundle {
  readonly leaves: readonly Uint8Array[]
  readonly details: readonly Uint8Array[]
}

async function loadBundle(store: LedgerStore, tile: number, width: number): Promise<Bundle> {
  const path = tilePath('entries', tile, width)
  const entries = await findPublicResource(store.resources, path)
  if (entries === null) throw new LedgerDamage(`${path} is missing`)
  return { leaves: parseBundle(entries, width), details: await loadDetails(store, tile, width) }
}

/** The publisher replaces a partial detail bundle with a wider one; each look may come too late. */
const looksMax = 16

export async function loadDetails(
  { resources }: Pick<LedgerStore, 'resources'>,
  tile: number,
  width: number,
): Promise<readonly Uint8Array[]> {
  for (let look = 0; look < looksMax; look++) {
    const partials = (await resources.list(`${tilePath('detail', tile)}.p`)).map(Number)
    for (const wider of [width, tileWidth, ...partials.filter((other) => other > width)]) {
      const bytes = await resources.read(tilePath('detail', tile, wider))
      if (bytes !== null) return parseDetails(bytes, wider).slice(0, width)
    }
  }
  throw new LedgerDamage(`${tilePath('detail', tile, width)} is missing`)
}

/** Checks the content of the entries, in order. */
class EntryCheck {
  readonly #parts: CheckParts
  readonly #open: Map<string, number>
  readonly #erasures: ErasureCheck
  #positions = new Map<string, number[]>()
  #changes = new OpenChanges()

  constructor(parts: CheckParts) {
    const { open, counts } = parts.pruned.state
    this.#parts = parts
    this.#open = new Map(open)
    this.#erasures = new ErasureCheck(counts)
  }

  get unclosed(): readonly string[] {
    return [...this.#open.keys()]
  }

  async visit(first: number, { leaves, details }: Bundle): Promise<void> {
    for (const [i, bytes] of leaves.entries()) {
      const turn = this.#parts.pace()
      if (turn !== null) await turn
      const index = first + i
      const leaf = readLeaf(bytes, index)
      const detail = details[i] ?? new Uint8Array(0)
      const plaintext = this.#parts.vault.unseal(index, detail)
      this.#erasures.see(index, detail)
      if (plaintext !== null) {
        const facts = openFacts(plaintext, leaf.facts)
        if (leaf.kind === 'erasure') this.#erasures.state(index, facts)
      }
      this.#checkExchange(leaf, index)
      if ((index + 1) % this.#parts.limits.segmentEntries === 0) await this.#checkSegment(index)
    }
  }

  #checkExchange({ kind, exchange }: Leaf, index: number): void {
    if ((kind === 'genesis') !== (index === 0)) {
      throw new LedgerDamage('the genesis is the first entry and no other')
    }
    const isOpen = this.#open.has(exchange)
    if (kind === 'intent' && isOpen) throw new LedgerDamage('an exchange has two open intents')
    if ((kind === 'outcome' || kind === 'indeterminate') && !isOpen) {
      throw new LedgerDamage('an outcome has no intent')
    }
    if (kind === 'intent') {
      this.#open.set(exchange, index)
      this.#changes.open(exchange, index)
    }
    const intent = closesExchange(kind) ? this.#open.get(exchange) : undefined
    if (intent !== undefined) {
      this.#open.delete(exchange)
      this.#changes.close(exchange, intent)
    }
    const position = index % this.#parts.limits.segmentEntries
    const positions = this.#positions.get(exchange)
    if (positions === undefined) this.#positions.set(exchange, [position])
    else positions.push(position)
  }

  async #checkSegment(last: number): Promise<void> {
    const { store, limits } = this.#parts
    const segment = Math.floor(last / limits.segmentEntries)
    const expected = encodeSegment({
      exchanges: this.#positions,
      changes: this.#changes,
      openSince: openSince(this.#open, last + 1),
    })
    this.#positions = new Map()
    this.#changes = new OpenChanges()
    const bytes = await store.resources.read(segmentPath(segment))
    // A segment that is not written yet is not wrong.
    if (bytes !== null && !equalBytes(bytes, expected)) {
      throw new LedgerDamage(`segment ${segment} of the exchange index differs from the entries`)
    }
  }
}
