import { generateKeyPairSync } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { startJournalThread } from '../packages/fabric/src/adapters/file/journal-thread.ts'
import type { LedgerJournal } from '../packages/fabric/src/adapters/file/ledger-journal.ts'
import { openFileLedgerStore } from '../packages/fabric/src/adapters/file/ledger-store.ts'
import type { EntryDraft, Ledger } from '../packages/fabric/src/ledger/ledger.ts'
import { openLedger } from '../packages/fabric/src/ledger/open-ledger.ts'
import type { LedgerStore } from '../packages/fabric/src/ledger/store.ts'
import { systemClock } from '../packages/fabric/src/lib/clock.ts'
import {
  type DurableFile,
  type FileLayer,
  systemFiles,
} from '../packages/fabric/src/lib/durable-file.ts'
import { systemRandom } from '../packages/fabric/src/lib/random.ts'
import { heldLease } from '../tools/crash/held-lease.ts'
import { memoryKeys } from '../tools/crash/memory-keys.ts'

export interface LedgerFigures {
  readonly inFlight: number
  readonly entriesPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Every fdatasync and fsync, those of the tiles in the background included. */
  readonly fsyncsPer1000: number
  /** User and system time of the whole process. */
  readonly cpuUsPerEntry: number
}

const entriesByInFlight = new Map([
  [1, 600],
  [64, 12_000],
  [256, 40_000],
])

/** Entries with eight facts, as an outcome has; a fresh ledger below `dir` for each load. */
export async function measureLedger(dir: string): Promise<readonly LedgerFigures[]> {
  const figures: LedgerFigures[] = []
  for (const [inFlight, entries] of entriesByInFlight) {
    const directory = `${dir}/ledger-${inFlight}`
    await mkdir(directory, { recursive: true })
    figures.push(await measureLoad(directory, inFlight, entries))
    await rm(directory, { recursive: true })
  }
  return figures
}

async function measureLoad(directory: string, inFlight: number, entries: number) {
  const counted = { syncs: 0 }
  const store = await openFileLedgerStore({
    directory,
    files: countSyncs(systemFiles, counted),
    journal: (places) => countCommits(startJournalThread(places), counted),
  })
  const ledger = await openBenchLedger(store)
  await appendMany(ledger, inFlight, Math.min(entries, 4000))
  counted.syncs = 0
  const cpu = process.cpuUsage()
  const start = performance.now()
  const latencies = await appendMany(ledger, inFlight, entries)
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const { syncs } = counted
  await ledger.close()
  latencies.sort()
  return {
    inFlight,
    entriesPerSecond: entries / seconds,
    p50Ms: latencies[Math.floor(entries * 0.5)] ?? 0,
    p99Ms: latencies[Math.floor(entries * 0.99)] ?? 0,
    fsyncsPer1000: (syncs * 1000) / entries,
    cpuUsPerEntry: (user + system) / entries,
  }
}

export function openBenchLedger(store: LedgerStore): Promise<Ledger> {
  return openLedger({
    store,
    lease: heldLease,
    origin: 'bench.example/ledger/a',
    logKey: generateKeyPairSync('ed25519').privateKey,
    detailKey: systemRandom(32),
    subjectKeys: memoryKeys(),
    clock: systemClock,
    random: systemRandom,
  })
}

async function appendMany(ledger: Ledger, inFlight: number, entries: number) {
  const latencies = new Float64Array(entries)
  let next = 0
  const worker = async () => {
    for (let i = next++; i < entries; i = next++) {
      const start = performance.now()
      await ledger.append(draft(i))
      latencies[i] = performance.now() - start
    }
  }
  await Promise.all(Array.from({ length: inFlight }, worker))
  return latencies
}

const digest = systemRandom(32)
const signature = systemRandom(64)

function draft(i: number, at = Date.now()): EntryDraft {
  return {
    kind: 'refusal',
    exchange: `exc_a_${String(i).padStart(32, '0')}`,
    at,
    facts: {
      result: 'delivered',
      status: 200,
      caller: 'spiffe://bench.example/agent/planner',
      'response.digest': digest,
      'response.forwarded-digest': digest,
      'response.signature': signature,
      'response.key': digest,
      'private.detail': `entry ${i} of a run`,
    },
  }
}

/** Commits and heads are synced in a thread that nothing else counts. */
function countCommits(journal: LedgerJournal, counted: { syncs: number }): LedgerJournal {
  const { heads } = journal
  return {
    ...journal,
    commit(commit) {
      counted.syncs += 1
      return journal.commit(commit)
    },
    heads: {
      load: () => heads.load(),
      replace: (previousSize, next) => heads.replace(previousSize, next),
      sync() {
        counted.syncs += 1
        return heads.sync()
      },
    },
  }
}

function countSyncs(files: FileLayer, counted: { syncs: number }): FileLayer {
  const wrap = (file: DurableFile): DurableFile => ({
    read: (position, length) => file.read(position, length),
    write: (position, bytes) => file.write(position, bytes),
    size: () => file.size(),
    close: () => file.close(),
    sync: () => {
      counted.syncs++
      return file.sync()
    },
  })
  function open(path: string, mode: 'create'): Promise<DurableFile>
  function open(path: string, mode: 'read' | 'update'): Promise<DurableFile | null>
  async function open(path: string, mode: 'create' | 'read' | 'update') {
    if (mode === 'create') return wrap(await files.open(path, mode))
    const file = await files.open(path, mode)
    return file === null ? null : wrap(file)
  }
  return {
    ...files,
    open,
    syncDirectory: (path) => {
      counted.syncs++
      return files.syncDirectory(path)
    },
  }
}
