import { expect, test } from 'vitest'
import { LossyDisk } from '../../../../tools/crash/lossy-files.ts'
import { createLedgerKeys, openLossyLedger } from '../../../../tools/crash/lossy-ledger.ts'
import { newExchange } from '../../../../tools/crash/lossy-matrix.ts'
import type { EntryKind, FactValue, Ledger } from './ledger.ts'
import { UnknownCursor } from './ledger-reads.ts'
import { LedgerBusy, LedgerUnavailable } from './unavailable.ts'

const keys = createLedgerKeys()

const draft = (kind: EntryKind, exchange: string, facts: Record<string, FactValue> = {}) => ({
  ...{ kind, exchange, at: 1_700_000_000_000, facts },
})
const append = (ledger: Ledger, count: number) =>
  Promise.all(
    Array.from({ length: count }, (_, n) =>
      ledger.append(draft('refusal', newExchange(), { code: 'X', n })),
    ),
  )

/** Takes `count` entries of what follows the log. */
async function take(follower: AsyncIterator<{ readonly index: number }>, count: number) {
  const indexes: number[] = []
  while (indexes.length < count) {
    const { done, value } = await follower.next()
    if (done === true) break
    indexes.push(value.index)
  }
  return indexes
}

const range = (from: number, end: number) => Array.from({ length: end - from }, (_, i) => from + i)

test('entries are read by index across bundles and starts, and pages end at their bounds', async () => {
  const disk = new LossyDisk()
  const limits = { windowBytesMax: 1, readEntriesMax: 300 }
  const first = await openLossyLedger(disk, keys, { limits })
  await append(first, 700)
  await first.close()
  const ledger = await openLossyLedger(disk, keys, { limits })
  const page = await ledger.read(200, 1_000)
  expect(page.entries.map(({ index }) => index)).toEqual(range(200, 500))
  expect(page.next).toBe(500)
  expect(page.entries[0]?.facts).toEqual({ code: 'X', n: 199 })
  expect((await ledger.read(690, 1_000)).next).toBe(701)
  expect(await ledger.read(701, 5)).toEqual({ entries: [], next: 701 })
  await ledger.close()
})

test('a page ends before its bytes do, and has one entry at least', async () => {
  const limits = { readBytesMax: 3_000 }
  const ledger = await openLossyLedger(new LossyDisk(), keys, { limits })
  for (const length of [10, 10, 2_900, 20_000, 10]) {
    await ledger.append(draft('refusal', newExchange(), { text: 'x'.repeat(length) }))
  }
  const pages: number[] = []
  for (let from = 1; from < ledger.size; from = (await ledger.read(from, 100)).next) {
    pages.push(from)
  }
  expect(pages).toEqual([1, 3, 4, 5])
  await ledger.close()
})

test('an index beyond the end, and what is none, is refused by every read', async () => {
  const ledger = await openLossyLedger(new LossyDisk(), keys)
  for (const index of [2, -1, 0.5, Number.NaN, 2 ** 53]) {
    await expect(ledger.read(index, 1)).rejects.toThrow(UnknownCursor)
    await expect(ledger.list({ countMax: 1, after: index })).rejects.toThrow(UnknownCursor)
    await expect(ledger.list({ countMax: 1, before: index })).rejects.toThrow(UnknownCursor)
    expect(() => ledger.follow({ from: index, owner: 'a' })).toThrow(UnknownCursor)
  }
  await ledger.close()
})

test('those who follow are given every entry once, in order, whatever is pruned meanwhile', async () => {
  const limits = { publishEntries: 1, windowBytesMax: 1, segmentEntries: 16, followEntries: 7 }
  const ledger = await openLossyLedger(new LossyDisk(), keys, { limits })
  const signal = new AbortController()
  const follow = (from: number) => ledger.follow({ from, owner: 'a', signal: signal.signal })
  const slow = follow(0)
  const taking = [take(follow(0), 601), take(follow(1), 600)]
  for (let n = 0; n < 6; n++) await append(ledger, 100)
  const [all, allButOne] = await Promise.all(taking)
  expect(all).toEqual(range(0, 601))
  expect(allButOne).toEqual(range(1, 601))
  // One that was slow, or away, misses nothing.
  expect(await take(slow, 601)).toEqual(all)
  signal.abort()
  await ledger.close()
})

test('a follower is shown what is durable, and nothing before', async () => {
  const disk = new LossyDisk()
  const ledger = await openLossyLedger(disk, keys)
  const follower = ledger.follow({ from: ledger.size, owner: 'a' })
  let isAcknowledged = false
  const appended = append(ledger, 1).then(() => {
    isAcknowledged = true
  })
  const { size } = ledger
  const { value } = await follower.next()
  expect(value?.index).toBe(size)
  expect(ledger.size).toBe(size + 1)
  await appended
  expect(isAcknowledged).toBe(true)
  // The disk fails: what was not acknowledged is never shown.
  disk.restart({ at: 1, when: 'before', process: 'goes on' })
  const next = follower.next()
  await expect(append(ledger, 1)).rejects.toThrow()
  await expect(next).rejects.toThrow(LedgerUnavailable)
  await ledger.close().catch(() => undefined)
})

test('places of followers are bounded, with a share for each reader, and given back', async () => {
  const limits = { followersMax: 4, followersPerOwnerMax: 2 }
  const ledger = await openLossyLedger(new LossyDisk(), keys, { limits })
  const from = ledger.size
  const stop = new AbortController()
  const { signal } = stop
  const [first] = [1, 2].map(() => ledger.follow({ from, owner: 'flood', signal }))
  const follow = (owner: string) => ledger.follow({ from, owner })
  expect(() => follow('flood')).toThrow(
    new LedgerBusy(
      { name: 'ledger.followersPerReader', value: 2, unit: 'count' },
      'too many readers follow the log',
    ),
  )
  const other = follow('other')
  expect(() => follow('other')).toThrow('ledger.followers, 4')
  await first?.return?.()
  await first?.return?.()
  // Its place is free once, and those of the signal are too, also where nothing was ever read.
  const again = follow('flood')
  expect(() => follow('flood')).toThrow(LedgerBusy)
  stop.abort()
  await again.return?.()
  await other.return?.()
  const all = ['a', 'b', 'c'].map(follow)
  expect(all).toHaveLength(3)
  const waiting = all[0]?.next()
  await ledger.close()
  expect(await waiting).toEqual({ done: true, value: undefined })
})

test('a signal that has ended begins nothing, and one that ends wakes its follower', async () => {
  const limits = { followersMax: 2, followersPerOwnerMax: 1 }
  const ledger = await openLossyLedger(new LossyDisk(), keys, { limits })
  const from = ledger.size
  const ended = ledger.follow({ from, owner: 'a', signal: AbortSignal.abort() })
  expect((await ended.next()).done).toBe(true)
  const stop = new AbortController()
  const waiting = ledger.follow({ from, owner: 'a', signal: stop.signal }).next()
  stop.abort()
  expect((await waiting).done).toBe(true)
  await ledger.follow({ from, owner: 'a' }).return?.()
  await ledger.close()
})

test('a reader has its own places however many are left', async () => {
  const limits = { followersMax: 100, followersPerOwnerMax: 2 }
  const ledger = await openLossyLedger(new LossyDisk(), keys, { limits })
  const follow = () => ledger.follow({ from: ledger.size, owner: 'flood' })
  const held = [follow(), follow()]
  expect(follow).toThrow('ledger.followersPerReader, 2')
  for (const follower of held) await follower.return?.()
  await ledger.close()
})
