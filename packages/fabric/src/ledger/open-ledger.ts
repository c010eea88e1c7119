import { type KeyObject } from 'node:crypto'
import { createExchangeId } from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import type { Lease } from '../state/lease.ts'
import { CheckpointKey } from './checkpoint.ts'
import { Cosigning, type CosignPolicy, noCosigning } from './cosigning.ts'
import { DetailVault, referencesOf } from './details.ts'
import { EntryReader, readLeaf } from './entry-reader.ts'
import { ExchangeIndex } from './exchange-index.ts'
import { LeafWriter } from './leaf-writer.ts'
import type { Ledger } from './ledger.ts'
import { type LedgerLimits, ledgerLimits } from './limits.ts'
import type { PrunedPart } from './pruned-part.ts'
import { ReadTurns } from './read-turns.ts'
import { type Recovered, recover } from './recovery.ts'
import type { ReplacedKeyStore } from './replaced-keys.ts'
import { loadPruned } from './retention.ts'
import type { RetentionPolicy } from './retention-policy.ts'
import { SpaceGuard } from './space-guard.ts'
import { LedgerDamage, type LedgerStore } from './store.ts'
import { Subjects } from './subjects.ts'
import { TermIndex, type TermIndexParts } from './term-index.ts'
import { TermKeys } from './term-keys.ts'
import { GroupIndex, groupEntries } from './tile-groups.ts'
import { TiledLedger } from './tiled-ledger.ts'
import { hashBytes, parseBundle, tilePath, tileWidth } from './tiles.ts'

export interface LedgerOptions {
  /** Open, and closed by the ledger. */
  readonly store: LedgerStore
  /**
   * Of the log slot, by whose name exchange ids name the log. Nothing is signed, acknowledged or
   * published unless it is held.
   */
  readonly lease: Lease
  /** The log's name (C2SP tlog-checkpoint), `logOrigin` of the protocol. */
  readonly origin: string
  /** Ed25519, private: signs checkpoints, by which it vouches for entries, and nothing else. */
  readonly logKey: KeyObject
  /** 32 bytes for AES-256-GCM: facts and salts. */
  readonly detailKey: Uint8Array
  /** The key that wraps those of the subjects, in the secret store. */
  readonly subjectKeys: ReplacedKeyStore
  /**
   * Reports whether the directory has a principal of that name: a refusal names what its caller
   * asked for, which need not exist. Any name is one by default.
   */
  readonly isPrincipal?: (name: string) => boolean
  readonly clock: Clock
  readonly random: Random
  readonly limits?: Partial<LedgerLimits>
  /** Without it, a checkpoint is published once it is synced. */
  readonly cosigning?: CosignPolicy
  /** Without it, every entry is kept. */
  readonly retention?: RetentionPolicy | null
  /** Receives what an operator should know: long work at start, little space. */
  readonly log?: (event: string, facts: Readonly<Record<string, string | number>>) => void
  /** The time of the newest head, from which the operator lets the clock go back at this start. */
  readonly acceptClock?: number
  /** Called once, when the ledger stopped for good: an error of the disk is never retried. */
  readonly onFatal?: (cause: unknown) => void
}

/**
 * Opens the ledger in this order: state recovered and compared with the promised head, everything
 * published, the write-ahead log emptied, a genesis entry if there is none, open intents closed as
 * indeterminate. Rejects, with the store closed, when any of it is in doubt.
 */
export async function openLedger(options: LedgerOptions): Promise<Ledger> {
  try {
    return await open(options)
  } catch (cause) {
    await options.store.close()
    throw cause
  }
}

async function open(options: LedgerOptions): Promise<Ledger> {
  const { store, origin, clock, random } = options
  const limits = { ...ledgerLimits, ...options.limits }
  const key = new CheckpointKey(origin, options.logKey)
  const log = options.log ?? (() => undefined)
  const space = new SpaceGuard({
    freeBytes: () => store.freeBytes(),
    refuseBytes: limits.freeBytesMin,
    readBytes: Math.min(limits.freeBytesRead, limits.freeBytesMin),
    reserveBytes: Math.min(limits.freeBytesReserve, limits.freeBytesMin),
    warnBytes: limits.freeBytesWarn,
    clock,
  })
  space.onChange((now) =>
    log(spaceEvents[now.state], { ...now, freeBytes: now.freeBytes ?? 'unknown' }),
  )
  await space.measure()

  const recovered = await recover({
    ...{ store, key, clock, limits },
    acceptClock: options.acceptClock ?? null,
  })
  const subjects = await openSubjects(options, limits, recovered)
  const vault = new DetailVault({ detailKey: options.detailKey, origin, subjects }, random)
  const pruned = await loadPruned(store.resources, key)
  const index = new ExchangeIndex(store.resources, limits.segmentEntries, pruned)
  await restoreIndex(index, recovered, { store, clock, log, pruned })
  const { tree, window } = recovered
  const { resources } = store
  const groups = new GroupIndex({ resources, log, pruned })
  tree.readGroups({
    find: (tile) => groups.find(tile),
    read: (tile, group) => resources.readPart(tilePath(0, tile), group * groupBytes, groupBytes),
  })
  const reader = new EntryReader({ resources, window, tree, vault, groups, subjects, pruned })
  const writer = new LeafWriter({ vault, random, detailBytesMax: limits.detailBytesMax })
  const exchanges = index
  const termKeys = new TermKeys(options.detailKey, origin, subjects)
  const turns = new ReadTurns(limits)
  const parts = { reader, exchanges, limits, turns, log, keys: termKeys }
  const terms = openTerms(options, parts, recovered.head.size)
  const ledger = new TiledLedger({
    store,
    lease: options.lease,
    origin,
    key,
    cosigning: new Cosigning(options.cosigning ?? noCosigning),
    ...{ vault, subjects, limits, clock, index },
    groups,
    terms,
    turns,
    reader,
    writer,
    recovered,
    ...{ space, pruned, retention: options.retention ?? null },
    newId: () => createExchangeId(options.lease.name, clock.now(), random(10)),
    log,
    onFatal: options.onFatal ?? (() => undefined),
  })
  try {
    await ledger.start()
  } catch (cause) {
    // Nothing of it may still write when the store is closed, and opened again.
    await ledger.close().catch(() => undefined)
    throw cause
  }
  return ledger
}

function openTerms(
  { store, clock }: LedgerOptions,
  {
    limits,
    ...parts
  }: Pick<TermIndexParts, 'reader' | 'exchanges' | 'turns' | 'log' | 'keys'> & {
    readonly limits: LedgerLimits
  },
  size: number,
): TermIndex {
  const { resources } = store
  const segmentEntries = limits.termSegmentEntries
  return new TermIndex({ resources, ...parts, segmentEntries, clock }, size)
}

async function openSubjects(
  { store, origin, random, subjectKeys, isPrincipal = () => true }: LedgerOptions,
  limits: LedgerLimits,
  recovered: Recovered,
): Promise<Subjects> {
  const parts = { store: store.subjects, keys: subjectKeys, origin, random, limits, isPrincipal }
  const subjects = await Subjects.open(parts, recovered.head.size === 0)
  assertNamed(recovered, subjects)
  return subjects
}

/**
 * Rejects a file of subjects that lacks one of the newest entries: a copy from before, whose key is
 * still in force.
 */
function assertNamed({ published, head, window }: Recovered, subjects: Subjects): void {
  for (let at = published.size - (published.size % tileWidth); at < head.size; at++) {
    const references = referencesOf(at, window.find(at)?.detail ?? new Uint8Array(0))
    for (const reference of references) subjects.keyOf(reference)
  }
}

const spaceEvents = {
  ok: 'the disk of the ledger has room again',
  low: 'the disk of the ledger is filling up; free space before entries are refused',
  full: 'the disk of the ledger is nearly full; nothing is delivered until there is space, while administration goes on',
  exhausted:
    'the disk of the ledger is full; nothing is recorded until there is space, and streams end',
} as const

const groupBytes = groupEntries * hashBytes

/** Between two lines of the log while an index is made anew. */
const progressEveryMs = 2_000

/**
 * Reads what no index file covers: at most one segment of bundles, and the replayed records. The
 * whole log where the files are missing, damaged or of an older format; one bundle at a time. Gives
 * the index of the first entry that it read.
 */
export async function restoreIndex(
  index: ExchangeIndex,
  { published, head, window }: Recovered,
  {
    store,
    clock,
    log,
    pruned,
  }: Required<Pick<LedgerOptions, 'store' | 'clock' | 'log'>> & { readonly pruned: PrunedPart },
): Promise<number> {
  let loggedAt = clock.monotonic()
  let at = await index.restore(published.size)
  const from = at
  const add = (leaf: Uint8Array) => {
    const { exchange, kind } = readLeaf(leaf, at)
    index.add({ exchange, kind, index: at++ })
  }
  // The last, partial bundle is in the window.
  for (let tile = Math.floor(at / tileWidth); (tile + 1) * tileWidth <= published.size; tile++) {
    const bundle = await store.resources.read(tilePath('entries', tile))
    if (bundle === null) throw pruned.missing(tile * tileWidth, tilePath('entries', tile))
    for (const leaf of parseBundle(bundle, tileWidth).slice(at % tileWidth)) add(leaf)
    await index.store(at)
    if (clock.monotonic() - loggedAt >= progressEveryMs) {
      loggedAt = clock.monotonic()
      log('reading the ledger for its index', { entries: at, total: head.size })
    }
  }
  while (at < head.size) {
    const entry = window.find(at)
    if (entry === undefined) throw new LedgerDamage(`entry ${at} is missing`)
    add(entry.leaf)
  }
  return from
}
