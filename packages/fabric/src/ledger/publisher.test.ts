import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { heldLease } from '../../../../tools/crash/held-lease.ts'
import { Cosigning, noCosigning } from './cosigning.ts'
import { ledgerLimits as limits } from './limits.ts'
import { Publisher } from './publisher.ts'
import type { LedgerStore, StoredHead } from './store.ts'
import { SyncedHeads } from './synced-heads.ts'
import { Tree } from './tree.ts'
import { Window } from './window.ts'

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }))
afterEach(() => void vi.useRealTimers())

const { publishDelayMs, publishPauseMs, publishSoonEntries, publishEntries } = limits

function fatal(cause: unknown): never {
  throw cause
}

/** A log in memory whose entries are acknowledged as they come. */
function openLog() {
  const began = Date.now()
  const rounds: { readonly atMs: number; readonly size: number }[] = []
  const none: StoredHead = { size: 0, at: 0, checkpoint: '' }
  const store = {
    resources: {
      write: async (resources: readonly { readonly path: string }[]) => {
        if (resources[0]?.path !== 'checkpoint') return
        rounds.push({ atMs: Date.now() - began, size: tree.size })
      },
      list: async () => [],
      remove: async () => undefined,
    },
    wal: { trim: async () => undefined },
    heads: { sync: async () => undefined },
  } as unknown as LedgerStore
  const tree = new Tree(() => Promise.reject(new Error('no file is read')))
  const window = new Window(0, limits.windowBytesMax)
  const shared = { lease: heldLease, limits, fatal }
  const heads = new SyncedHeads({ ...shared, store: store.heads, head: none, published: none })
  const publisher = new Publisher({
    ...{ ...shared, store, tree, window, heads },
    cosigning: new Cosigning(noCosigning),
    clock: { monotonic: () => Date.now() },
    after: () => Promise.resolve(),
  })
  return {
    rounds,
    add(count: number) {
      for (let i = 0; i < count; i++) {
        window.add(tree.size, { leaf: new Uint8Array(8), detail: new Uint8Array(8) })
        tree.append(new Uint8Array(32))
      }
      heads.wrote({ size: tree.size, at: Date.now(), checkpoint: `of ${tree.size}` })
      publisher.announce(tree.size)
    },
    publisher,
  }
}

/** Adds `count` entries every `everyMs`, for ten seconds. */
async function traffic(log: ReturnType<typeof openLog>, count: number, everyMs: number) {
  for (let passed = 0; passed < 10_000; passed += everyMs) {
    log.add(count)
    await vi.advanceTimersByTimeAsync(everyMs)
  }
}

describe('a checkpoint', () => {
  test('appears within the delay where nothing was published shortly before', async () => {
    const log = openLog()
    log.add(1)
    await vi.advanceTimersByTimeAsync(publishDelayMs)
    expect(log.rounds).toEqual([{ atMs: publishDelayMs, size: 1 }])
    await vi.advanceTimersByTimeAsync(10 * publishPauseMs)
    log.add(1)
    await vi.advanceTimersByTimeAsync(publishDelayMs)
    expect(log.rounds.map(({ size }) => size)).toEqual([1, 2])
    await log.publisher.stop()
  })

  test('waits for the pause of few entries, and no entry waits longer', async () => {
    const log = openLog()
    await traffic(log, 4, 10)
    const times = log.rounds.map(({ atMs }) => atMs)
    expect(times).toEqual(Array.from({ length: 10 }, (_, i) => publishDelayMs + i * publishPauseMs))
    await log.publisher.stop()
  })

  test('does not wait for the pause once many entries wait', async () => {
    const log = openLog()
    await traffic(log, publishSoonEntries / 16, 10)
    const gaps = log.rounds.slice(1).map(({ atMs }, i) => atMs - (log.rounds[i]?.atMs ?? 0))
    expect(gaps.length).toBeGreaterThan(30)
    expect(new Set(gaps)).toEqual(new Set([publishDelayMs]))
    await log.publisher.stop()
  })

  test('appears at once when as many wait as one round takes', async () => {
    const log = openLog()
    log.add(1)
    await vi.advanceTimersByTimeAsync(publishDelayMs)
    log.add(publishEntries)
    await vi.advanceTimersByTimeAsync(0)
    expect(log.rounds.map(({ atMs }) => atMs)).toEqual([publishDelayMs, publishDelayMs])
    await log.publisher.stop()
  })
})
