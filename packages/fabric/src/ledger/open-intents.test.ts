import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { heldLease } from '../../../../tools/crash/held-lease.ts'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import {
  createLedgerKeys,
  openLossyLedger,
  testOrigin,
} from '../../../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../../../tools/crash/lossy-matrix.ts'
import { openFileLedgerStore } from '../adapters/file/ledger-store.ts'
import { systemClock } from '../lib/clock.ts'
import { systemRandom } from '../lib/random.ts'
import { forEachBounded } from './bounded.ts'
import type { EntryKind, Ledger } from './ledger.ts'
import { type LedgerLimits, ledgerLimits } from './limits.ts'
import { openLedger } from './open-ledger.ts'
import { ExchangeNotOpen } from './unavailable.ts'

const keys = createLedgerKeys()

function draft(kind: EntryKind, exchange: string, facts: Record<string, string> = { n: '1' }) {
  return { kind, exchange, at: systemClock.now(), facts }
}

/** Leaves `count` exchanges open, of owners that each hold no more than their share. */
async function leaveOpen(ledger: Ledger, count: number): Promise<readonly string[]> {
  const exchanges = Array.from({ length: count }, newExchange)
  await forEachBounded(exchanges.entries(), 512, async ([at, exchange]) => {
    await ledger.append(draft('intent', exchange, { producer: `connector-${at % 8}` }))
  })
  return exchanges
}

/** Bounds that the hostile state exceeds many times, for tests that need no full size. */
const small: Partial<LedgerLimits> = {
  ...{ queueEntriesMax: 8, waitingEntriesMax: 8, groupEntriesMax: 4, segmentEntries: 16 },
  publishEntries: 32,
}
const seeding: Partial<LedgerLimits> = { groupEntriesMax: 256, segmentEntries: 16 }

test('a start closes more exchanges than the queue can hold [record:indeterminate]', async () => {
  // Groups of the usual size; an eighth of a full queue, of those that wait for it and of a
  // segment.
  const limits = {
    queueEntriesMax: ledgerLimits.queueEntriesMax / 8,
    waitingEntriesMax: ledgerLimits.waitingEntriesMax / 8,
    segmentEntries: ledgerLimits.segmentEntries / 8,
  }
  const count = limits.queueEntriesMax + 512
  const directory = await mkdtemp(join(tmpdir(), 'ledger-'))
  const open = async () =>
    openLedger({
      lease: heldLease,
      ...{ store: await openFileLedgerStore({ directory }), origin: testOrigin },
      ...{ clock: systemClock, random: systemRandom, ...keys, limits },
    })
  const seeded = await open()
  const exchanges = await leaveOpen(seeded, count)
  await seeded.close()
  const ledger = await open()
  expect(ledger.size).toBe(1 + 2 * count)
  expect((await ledger.check()).unclosed).toBe(0)
  const [, closing] = await ledger.explain(exchanges.at(-1) ?? '')
  expect(closing).toMatchObject({
    kind: 'indeterminate',
    facts: { code: 'OUTCOME_UNKNOWN', reason: 'restart' },
  })
  expect(ledger.state).toMatchObject({ openIntents: 0, queueDepth: 0 })
  await ledger.close()
  await rm(directory, { recursive: true })
})

test('starts that are killed again and again still get there', async () => {
  const disk = new LossyDisk()
  const seeded = await openLossyLedger(disk, keys, { limits: seeding })
  const exchanges = await leaveOpen(seeded, 200)
  disk.powerLoss('synced')
  let starts = 0
  let size = 0
  for (;;) {
    starts += 1
    disk.restart({ at: 150, when: 'before', process: 'dies' })
    const ledger = await openLossyLedger(disk, keys, { limits: small }).catch(() => null)
    // The machine may die in the stop as well, after a start that got there just before.
    await ledger?.close().catch(() => undefined)
    disk.powerLoss('synced')
    if (ledger === null && starts < 500) continue
    const last = await openLossyLedger(disk, keys, { limits: small })
    size = last.size
    expect((await last.check()).unclosed).toBe(0)
    await last.close()
    break
  }
  expect(starts).toBeGreaterThan(2)
  expect(size).toBe(1 + 2 * exchanges.length)
})

test('long work at start is visible', async () => {
  const disk = new LossyDisk()
  const seeded = await openLossyLedger(disk, keys, { limits: seeding })
  await leaveOpen(seeded, 40)
  await seeded.close()
  let now = 0
  const clock = { now: systemClock.now, monotonic: () => (now += 500) }
  const lines: string[] = []
  const log = (event: string) => void lines.push(event)
  const ledger = await openLossyLedger(disk, keys, { limits: small, clock, log })
  expect(lines).toContain('closing exchanges of unknown outcome')
  expect(lines.at(-1)).toContain('the fabric stopped before the outcome')
  await ledger.close()
})

test('one owner has no more open exchanges than its share, and the others have theirs', async () => {
  const limits = { openIntentsMax: 40, openIntentsPerOwnerMax: 10 }
  const ledger = await openLossyLedger(new LossyDisk(), keys, { limits })
  const open = (owner: object, exchange = newExchange()) =>
    ledger.append(draft('intent', exchange, { caller: 'c', ...owner })).then(() => exchange)
  const greedy = { producer: 'greedy' }
  const own = await Promise.all(Array.from({ length: 10 }, () => open(greedy)))
  await expect(open(greedy)).rejects.toMatchObject({ limit: { name: 'limits.openExchanges' } })
  await open({ producer: 'other' })
  await open({ caller: 'someone' })
  expect(ledger.state).toMatchObject({ openIntents: 12, openIntentsLargest: 10 })
  expect(ledger.openIntent(own[0] ?? '')?.producer).toBe('greedy')
  await ledger.append(draft('outcome', own[0] ?? '', { result: 'delivered' }))
  await open(greedy)
  await ledger.close()
})

test('a refusal takes no place, and what is refused at the bound is not on record', async () => {
  const limits = { openIntentsMax: 4, openIntentsPerOwnerMax: 1 }
  const ledger = await openLossyLedger(new LossyDisk(), keys, { limits })
  await ledger.append(draft('intent', newExchange(), { caller: 'c' }))
  const over = newExchange()
  await expect(ledger.append(draft('intent', over, { caller: 'c' }))).rejects.toThrow('under way')
  expect(await ledger.explain(over)).toEqual([])
  for (let at = 0; at < 5; at++) {
    await ledger.append(draft('refusal', newExchange(), { caller: 'c' }))
  }
  await ledger.close()
})

test('an exchange that is open for too long is closed on record, and its late outcome is refused', async () => {
  let now = 0
  const clock = { now: systemClock.now, monotonic: () => now }
  const limits = { openIntentMs: 1_000_000, openIntentsPerOwnerMax: 2 }
  const ledger = await openLossyLedger(new LossyDisk(), keys, { clock, limits })
  const [old, young] = [newExchange(), newExchange()]
  await ledger.append(draft('intent', old, { caller: 'p' }))
  now += 600_000
  await ledger.append(draft('intent', young, { caller: 'p' }))
  now += 500_000
  // The next entry finds the old one; no timer of an hour is waited for.
  await ledger.append(draft('refusal', newExchange()))
  const last = async () => (await ledger.explain(old)).at(-1)
  await expect.poll(last).toMatchObject({
    kind: 'indeterminate',
    facts: { result: 'unknown', code: 'OUTCOME_UNKNOWN', reason: 'too-old' },
  })
  await expect(ledger.append(draft('outcome', old))).rejects.toThrow(ExchangeNotOpen)
  expect(await ledger.findReceipt(old)).not.toBeNull()
  expect(ledger.state.openIntents).toBe(1)
  await ledger.append(draft('outcome', young, { result: 'delivered' }))
  expect((await ledger.check()).unclosed).toBe(0)
  await ledger.close()
})

test('an outcome passes a full queue, and everything acknowledged is on record', async () => {
  const limits = { queueEntriesMax: 4, waitingEntriesMax: 600, groupEntriesMax: 3 }
  const ledger = await openLossyLedger(new LossyDisk(), keys, { limits })
  const exchange = newExchange()
  await ledger.append(draft('intent', exchange, { caller: 'c' }))
  const order: string[] = []
  const flood = Array.from({ length: 200 }, () =>
    ledger.append(draft('refusal', newExchange())).then(() => order.push('refusal')),
  )
  const outcome = ledger.append(draft('outcome', exchange)).then(() => order.push('outcome'))
  await Promise.all([...flood, outcome])
  expect(order.indexOf('outcome')).toBeLessThan(20)
  expect((await ledger.check()).entries).toBe(203)
  await ledger.close()
})

test('the operator is warned before the disk is full, and the refusal names the limit', async () => {
  const disk = new LossyDisk()
  let now = 0
  const clock = { now: systemClock.now, monotonic: () => now }
  const lines: string[] = []
  const log = (event: string) => void lines.push(event)
  const ledger = await openLossyLedger(disk, keys, { clock, log })
  const later = async (free: number) => {
    disk.free = free
    now += 2000
    expect(ledger.state.space.refuseBytes).toBe(ledgerLimits.freeBytesMin)
    await new Promise(setImmediate)
    return ledger.state.space.state
  }
  expect(await later(ledgerLimits.freeBytesWarn - 1)).toBe('low')
  expect(lines.at(-1)).toContain('filling up')
  await ledger.append(draft('refusal', newExchange()))
  expect(await later(ledgerLimits.freeBytesMin - 1)).toBe('full')
  await expect(ledger.append(draft('refusal', newExchange()))).rejects.toMatchObject({
    limit: { name: 'ledger.freeBytes' },
  })
  expect(await later(ledgerLimits.freeBytesWarn)).toBe('ok')
  expect(lines.at(-1)).toContain('room again')
  await ledger.append(draft('refusal', newExchange()))
  await ledger.close()
})
