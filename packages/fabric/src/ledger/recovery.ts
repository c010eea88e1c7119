import { equalBytes, parseUtf8 } from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import type { CheckpointVerifier } from './checkpoint.ts'
import { type ClockStep, checkClock } from './clock-watch.ts'
import { leafHash } from './hash.ts'
import type { LedgerLimits } from './limits.ts'
import { type LoggedEntry, parseRecord } from './record.ts'
import { LedgerDamage, type LedgerStore, type StoredHead, type WalRecord } from './store.ts'
import { emptyRoot } from './tile-nodes.ts'
import { hashBytes, parseBundle, parseDetails, tilePath, tileWidth } from './tiles.ts'
import { type ReadTile, Tree } from './tree.ts'
import { Window } from './window.ts'

export interface RecoveryParts {
  readonly store: LedgerStore
  readonly key: CheckpointVerifier
  readonly clock: Clock
  readonly limits: LedgerLimits
  readonly acceptClock: number | null
}

export interface Recovered {
  readonly tree: Tree
  readonly window: Window
  /** The head for which tiles are published. */
  readonly published: StoredHead
  /** The newest head; everything between the two is in the window and the tree. */
  readonly head: StoredHead
  /** The step by which the clock went back since that head, if the operator accepted it. */
  readonly clockStep: ClockStep | null
}

/**
 * Brings back the one state that every acknowledged entry is in, or refuses. The stored head is the
 * lower bound: no checkpoint that left the process is of a larger size. Tiles and write-ahead
 * records lead there, or the log is damaged. Whole records beyond it are kept, as many as the log
 * may hold: their heads were written, and lost before their sync. A torn record beyond it was not
 * acknowledged, and `replay` leaves it out.
 */
export async function recover(parts: RecoveryParts): Promise<Recovered> {
  const { store, key, limits } = parts
  const { head, intact } = await loadHead(parts)
  const published = await loadPublished(parts, head)
  const tree = await restoreTree(parts, published)
  const window = new Window(published.size, limits.windowBytesMax)
  for (const entry of await loadPartialBundle(parts, tree)) window.add(entry.index, entry)

  const replay = new Replay({ tree, window, key, published, bound: head })
  await store.wal.replay((record) => replay.visit(record))
  const reached = replay.finish()

  if (reached.size === head.size && !intact) {
    throw new LedgerDamage('one copy of the stored head is damaged')
  }
  const clockStep = checkClock(reached, { ...parts, clockBehindMaxMs: limits.clockBehindMaxMs })
  if (reached.size > published.size) await store.wal.rewrite()
  // Also where it is the same: after a failed sync, the system still shows what the disk has lost.
  await store.heads.replace(head.size, reached)
  // From here on heads are of the accepted time.
  const newest = clockStep === null ? reached : { ...reached, at: clockStep.after }
  return { tree, window, published, head: newest, clockStep }
}

async function loadHead({ store, clock }: RecoveryParts) {
  const loaded = await store.heads.load()
  if (loaded !== null) return loaded
  let records = 0
  await store.wal.replay(() => records++)
  if (records > 0 || (await store.resources.read('checkpoint')) !== null) {
    throw new LedgerDamage('there are entries, but no stored head')
  }
  // Before the first entry, so that from then on a missing head store is never taken for a new log.
  const head: StoredHead = { size: 0, at: clock.now(), checkpoint: '' }
  await store.heads.replace(null, head)
  return { head, intact: true }
}

async function loadPublished({ store, key }: RecoveryParts, head: StoredHead): Promise<StoredHead> {
  if (head.size > 0) key.parseSigned(head.checkpoint)
  const bytes = await store.resources.read('checkpoint')
  if (bytes === null) return { size: 0, at: head.at, checkpoint: '' }
  const checkpoint = readText(bytes)
  const { size } = key.parseSigned(checkpoint)
  if (size > head.size) throw new LedgerDamage('the storage is ahead of the stored head')
  return { size, at: head.at, checkpoint }
}

function readText(bytes: Uint8Array): string {
  try {
    return parseUtf8(bytes)
  } catch (cause) {
    throw new LedgerDamage('the checkpoint is not text', { cause })
  }
}

export function tileReader({ store }: Pick<RecoveryParts, 'store'>): ReadTile {
  return async (level, tile, width) => {
    const bytes = await store.resources.read(tilePath(level, tile, width))
    if (bytes?.length !== width * hashBytes) {
      throw new LedgerDamage(`tile ${level}/${tile} is missing or of another width`)
    }
    return bytes
  }
}

async function restoreTree(parts: RecoveryParts, published: StoredHead): Promise<Tree> {
  const tree = await Tree.restore(published.size, tileReader(parts))
  const root = published.size === 0 ? emptyRoot : parts.key.parseSigned(published.checkpoint).root
  if (!equalBytes(tree.root(), root)) {
    throw new LedgerDamage('the tiles do not lead to the root of the checkpoint')
  }
  return tree
}

/** The entries that the next bundle will repeat, each found to be what the tree has. */
async function loadPartialBundle(
  { store }: RecoveryParts,
  tree: Tree,
): Promise<readonly (LoggedEntry & { index: number })[]> {
  const width = tree.size % tileWidth
  if (width === 0) return []
  const tile = Math.floor(tree.size / tileWidth)
  const bundle = await store.resources.read(tilePath('entries', tile, width))
  const detailBundle = await store.resources.read(tilePath('detail', tile, width))
  if (bundle === null || detailBundle === null) throw new LedgerDamage('the last bundle is missing')
  const details = parseDetails(detailBundle, width)
  const entries: (LoggedEntry & { index: number })[] = []
  for (const [i, leaf] of parseBundle(bundle, width).entries()) {
    const index = tile * tileWidth + i
    if (!(await tree.leafHash(index)).equals(leafHash(leaf))) {
      throw new LedgerDamage(`entry ${index} is not the one that was hashed`)
    }
    entries.push({ index, leaf, detail: details[i] ?? new Uint8Array(0) })
  }
  return entries
}

interface ReplayParts {
  readonly tree: Tree
  readonly window: Window
  readonly key: CheckpointVerifier
  readonly published: StoredHead
  /** No larger head left the process. */
  readonly bound: StoredHead
}

/** Grows the tree by what is in no tile yet. */
class Replay {
  readonly #parts: ReplayParts
  #reached: StoredHead
  /** True once the log led to the size of the bound, with its root. */
  #hasMet = false

  constructor(parts: ReplayParts) {
    this.#parts = parts
    this.#reached = parts.published
    this.#compare(parts.published)
  }

  visit({ firstIndex, body }: WalRecord): void {
    const { tree, window, key, published } = this.#parts
    const { entries, head } = parseRecord(body)
    const size = firstIndex + entries.length
    // In tiles already: a crash came between the checkpoint and the trimming of the log.
    if (size <= published.size) return
    if (firstIndex !== tree.size) throw new LedgerDamage('the write-ahead log has a gap')
    for (const [i, entry] of entries.entries()) {
      tree.append(leafHash(entry.leaf))
      window.add(firstIndex + i, entry)
    }
    const signed = key.parseSigned(head.checkpoint)
    if (signed.size !== size || !equalBytes(signed.root, tree.root())) {
      throw new LedgerDamage('a write-ahead record does not lead to its own checkpoint')
    }
    this.#reached = { size, at: head.at, checkpoint: head.checkpoint }
    this.#compare(this.#reached)
  }

  finish(): StoredHead {
    if (!this.#hasMet) {
      throw new LedgerDamage('the stored head is ahead of the storage: entries are missing')
    }
    return this.#reached
  }

  /** At the size of the bound there is one root, and no record may leap over it. */
  #compare(head: StoredHead): void {
    const { key, bound } = this.#parts
    if (this.#hasMet || head.size < bound.size) return
    if (head.size > bound.size) throw new LedgerDamage('the stored head was never committed')
    if (bound.size > 0) {
      const { root } = key.parseSigned(bound.checkpoint)
      if (!equalBytes(root, key.parseSigned(head.checkpoint).root)) {
        throw new LedgerDamage('another root was promised at this size')
      }
    }
    this.#hasMet = true
  }
}
