import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { channelStoreContract, message } from '../../../../../test/contracts/channel-store.ts'
import type { Leased } from '../../channels/channel-store.ts'
import { systemRandom } from '../../lib/random.ts'
import { CHANNEL_LIMITS_DEFAULT, openSqliteChannelStore } from './channel-store.ts'

const root = mkdtempSync(join(tmpdir(), 'channels-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

let directories = 0
const freshDirectory = () => join(root, `store-${directories++}`)
const time = 1_700_000_000_000
const limits = { ...CHANNEL_LIMITS_DEFAULT, messagesMax: 10, attemptsMax: 3 }

const openAt = (
  directory: string,
  changes: Partial<Parameters<typeof openSqliteChannelStore>[0]> = {},
) =>
  openSqliteChannelStore({
    directory,
    clock: { now: () => time, monotonic: () => 0 },
    random: systemRandom,
    onFatal: () => undefined,
    limitsOf: () => limits,
    sweepMs: 3_600_000,
    ...changes,
  })

// The contract holds the cases of both promises: a full channel refuses, a void token settles
// nothing.
describe('the contract [queue:bounded] [queue:fenced-acknowledgement]', () => {
  channelStoreContract('sqlite', async () => {
    const directory = freshDirectory()
    return { store: await openAt(directory), reopen: () => openAt(directory) }
  })
})

const bytesMax = 8 * 1024 * 1024
const lease = { channel: 'orders', group: 'g', countMax: 100, bytesMax, now: time, leaseMs: 1000 }

const settleOf = ({ message: { offset, channel }, leaseToken }: Leased) => ({
  channel,
  group: 'g',
  offset,
  leaseToken,
  now: time,
  verdict: 'ack' as const,
  delayMs: 0,
  reason: '',
})

test('the sweeper makes room once every group is done, and not before', async () => {
  const store = await openAt(freshDirectory())
  await store.publish(Array.from({ length: 10 }, (_, i) => message(i + 1)))
  const held = await store.lease(lease)
  await store.lease({ ...lease, group: 'slow', countMax: 4 })
  await store.settle(held.map(settleOf))
  await store.sweep()
  // The other group still holds the first four, and has not seen the rest.
  expect((await store.stats())[0]?.messages).toBe(10)
  const slow = await store.lease({ ...lease, group: 'slow', now: time + 1000 })
  await store.settle(slow.map((item) => ({ ...settleOf(item), group: 'slow', now: time + 1000 })))
  await store.sweep()
  expect((await store.stats())[0]).toMatchObject({ messages: 0, bytes: 0, lastOffset: 10 })
  expect((await store.publish([message(11)]))[0]).toEqual({ state: 'stored', offset: 11 })
  await store.close()
})

test('a lease of a clock that was ahead ends when the clock is right again', async () => {
  const ahead = 48 * 3_600_000
  let now = time + ahead
  const store = await openAt(freshDirectory(), { clock: { now: () => now, monotonic: () => 0 } })
  await store.publish([{ ...message(1), expiresAt: time + 2 * ahead }])
  const held = await store.lease({ ...lease, now })
  expect(held).toHaveLength(1)
  now = time
  expect(await store.lease(lease)).toEqual([])
  await store.sweep()
  const again = await store.lease(lease)
  expect(again.map((item) => item.message.offset)).toEqual([1])
  expect(await store.settle(held.map(settleOf))).toEqual([false])
  // A lease of now is not touched.
  await store.sweep()
  expect(await store.lease(lease)).toEqual([])
  await store.close()
})

test('the sweeper keeps what a dead letter can bring back', async () => {
  const store = await openAt(freshDirectory())
  await store.publish([message(1), message(2)])
  const held = await store.lease(lease)
  await store.settle(held.map((item) => ({ ...settleOf(item), verdict: 'reject', reason: 'no' })))
  await store.sweep()
  expect(await store.redrive('orders', 'g', 2, time)).toBe(true)
  expect((await store.lease(lease)).map((item) => item.message.offset)).toEqual([2])
  await store.close()
})

test('the sweeper turns what expired unsettled into dead letters of the groups that missed it', async () => {
  let now = time
  const store = await openAt(freshDirectory(), { clock: { now: () => now, monotonic: () => 0 } })
  await store.publish([message(1), { ...message(2), expiresAt: time + 10 }])
  await store.lease({ ...lease, countMax: 1 })
  now = time + 11
  await store.sweep()
  expect(await store.find('orders', 2)).toBeNull()
  expect(await store.dead('orders', 10)).toMatchObject([
    { offset: 2, group: 'g', reason: 'EXPIRED' },
  ])
  expect(await store.redrive('orders', 'g', 2, now)).toBe(false)
  await store.close()
})

test('an idempotency key is free again after its window', async () => {
  const store = await openAt(freshDirectory())
  await store.publish([message(1)])
  const later = { ...message(1), now: time + limits.dedupMs }
  expect(await store.publish([later])).toEqual([{ state: 'stored', offset: 2 }])
  await store.close()
})

test('the byte limit counts, and one lease gives no more than its share of bytes', async () => {
  const size = 1024 * 1024
  const wide = { ...limits, messagesMax: 100, bytesMax: 12 * size }
  const store = await openAt(freshDirectory(), { limitsOf: () => wide })
  const large = Array.from({ length: 13 }, (_, i) => ({
    ...message(i),
    sealed: new Uint8Array(size),
  }))
  const results = await store.publish(large)
  expect(results.map(({ state }) => state)).toEqual([...Array(12).fill('stored'), 'full'])
  expect(await store.lease(lease)).toHaveLength(8)
  expect(await store.lease(lease)).toHaveLength(4)
  await store.close()
})

test('a second process is refused while the first has the file', async () => {
  const directory = freshDirectory()
  const store = await openAt(directory)
  await store.publish([message(1)])
  await expect(openAt(directory)).rejects.toThrow(/locked/)
  await store.close()
})

test('a file of another version and a damaged file are refused', async () => {
  const directory = freshDirectory()
  await (await openAt(directory)).close()
  const path = join(directory, 'channels.sqlite')
  const other = new DatabaseSync(path)
  other.exec('PRAGMA user_version = 99')
  other.close()
  await expect(openAt(directory)).rejects.toThrow(/format 99.*: start the version that wrote it/)
  writeFileSync(path, 'not a database, but long enough to be taken for a file with something in it')
  await expect(openAt(directory)).rejects.toThrow()
})

test('damage is found at the start after an unclean end', async () => {
  const directory = freshDirectory()
  const store = await openAt(directory)
  await store.publish(
    Array.from({ length: 10 }, (_, i) => ({ ...message(i), sealed: new Uint8Array(9000) })),
  )
  await store.close()
  const path = join(directory, 'channels.sqlite')
  const other = new DatabaseSync(path)
  other.exec("UPDATE state SET value = 0 WHERE name = 'clean'")
  other.close()
  const bytes = readFileSync(path)
  // The last page belongs to an overflow chain; a missing page shows in no query before that row.
  truncateSync(path, bytes.length - 4096)
  await expect(openAt(directory)).rejects.toThrow()
})

test('a failed write is fatal: the callback is called and every later call rejects', async () => {
  const directory = freshDirectory()
  let heard = 0
  const store = await openAt(directory, { onFatal: () => heard++ })
  await store.publish([message(1)])
  // A command that the database cannot hold stands for any failure inside of a transaction.
  const impossible = { ...message(2), expiresAt: Number.NaN }
  await expect(store.publish([impossible])).rejects.toThrow('the channel store failed')
  await expect(store.publish([message(3)])).rejects.toThrow('the channel store failed')
  expect(heard).toBe(1)
  await store.close()
  chmodSync(directory, 0o700)
  const again = await openAt(directory)
  expect((await again.stats())[0]).toMatchObject({ messages: 1, lastOffset: 1 })
  await again.close()
})

test('many callers at once share transactions and each receives its own answer', async () => {
  const wide = { ...limits, messagesMax: 10_000 }
  const store = await openAt(freshDirectory(), { limitsOf: () => wide })
  const before = await store.sweep()
  const answers = await Promise.all(
    Array.from({ length: 500 }, async (_, i) => ({
      i,
      results: await store.publish([message(i)]),
    })),
  )
  const offsets = answers.map(({ results }) =>
    results[0]?.state === 'stored' ? results[0].offset : 0,
  )
  expect(new Set(offsets).size).toBe(500)
  for (const { i, results } of answers) {
    const offset = results[0]?.state === 'stored' ? results[0].offset : 0
    expect((await store.find('orders', offset))?.messageId).toBe(`m${i}`)
  }
  const after = await store.sweep()
  expect(after.syncs - before.syncs).toBeLessThan(250)
  await store.close()
})

test('a lease waits for no disk, unless it made a dead letter', async () => {
  const store = await openAt(freshDirectory())
  const syncsOf = async (work: () => Promise<unknown>) => {
    const before = (await store.sweep()).syncs
    await work()
    return (await store.sweep()).syncs - before
  }
  // The first sweep of a file writes.
  await store.sweep()
  const at = (now: number) => store.lease({ ...lease, now })
  expect(await syncsOf(() => store.publish([message(1)]))).toBe(1)
  expect(await syncsOf(() => at(time))).toBe(0)
  expect(await syncsOf(() => at(time + 2000))).toBe(0)
  const [last] = await at(time + 4000)
  expect(last?.attempt).toBe(3)
  expect(await syncsOf(() => at(time + 6000))).toBe(1)
  expect(await store.dead('orders', 10)).toHaveLength(1)
  expect(await syncsOf(() => store.publish([message(2)]))).toBe(1)
  const [second] = await at(time)
  if (second === undefined) throw new Error('not leased')
  expect(await syncsOf(() => store.settle([settleOf(second)]))).toBe(1)
  await store.close()
})

test('leases and settlements fill the log too, and have it checkpointed', async () => {
  const store = await openAt(freshDirectory())
  await store.publish([message(1)])
  await store.sweep()
  const before = (await store.sweep()).checkpoints
  const [leased] = await store.lease(lease)
  if (leased === undefined) throw new Error('not leased')
  // The first of them checkpoints after its answer.
  await store.sweep()
  expect((await store.sweep()).checkpoints).toBe(before + 1)
  await store.settle([settleOf(leased)])
  await store.sweep()
  expect((await store.sweep()).checkpoints).toBe(before + 2)
  await store.close()
})

test('for any actions of consumers, nothing is lost, invented or delivered after it was settled', async () => {
  const wide = { ...limits, messagesMax: 1000 }
  const store = await openAt(freshDirectory(), { limitsOf: () => wide })
  let runs = 0
  const action = fc.oneof(
    fc.record({ do: fc.constant('publish' as const), n: fc.integer({ min: 0, max: 20 }) }),
    fc.record({ do: fc.constant('lease' as const), n: fc.integer({ min: 1, max: 5 }) }),
    fc.record({
      do: fc.constantFrom('ack' as const, 'nack' as const, 'reject' as const),
      n: fc.nat(),
    }),
    fc.record({ do: fc.constant('pass' as const), n: fc.integer({ min: 1, max: 2500 }) }),
    fc.record({ do: fc.constant('sweep' as const), n: fc.constant(0) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
      let now = time
      const channel = `c${runs++}`
      const stored = new Set<number>()
      const finished = new Set<number>()
      const held: { leased: Leased; until: number }[] = []
      for (const { do: what, n } of actions) {
        if (what === 'publish') {
          const [result] = await store.publish([{ ...message(n), channel, now }])
          if (result?.state === 'stored') stored.add(result.offset)
        } else if (what === 'lease') {
          for (const leased of await store.lease({ ...lease, channel, countMax: n, now })) {
            expect(stored.has(leased.message.offset)).toBe(true)
            expect(finished.has(leased.message.offset)).toBe(false)
            held.push({ leased, until: now + 1000 })
          }
        } else if (what === 'pass') {
          now += n
        } else if (what === 'sweep') {
          await store.sweep()
        } else {
          const at = held.length === 0 ? -1 : n % held.length
          const [entry] = at < 0 ? [] : held.splice(at, 1)
          if (entry === undefined) continue
          const verdict = what
          const order = { ...settleOf(entry.leased), verdict, now, reason: 'r' }
          const [settled] = await store.settle([order])
          expect(settled).toBe(now < entry.until)
          if (settled === true && verdict === 'ack') finished.add(entry.leased.message.offset)
        }
      }
      now += 2000
      const rest = await store.lease({ ...lease, channel, countMax: 1000, now })
      const dead = await store.dead(channel, 1000)
      const seen = [...rest.map((item) => item.message.offset), ...dead.map(({ offset }) => offset)]
      expect(seen.toSorted((a, b) => a - b)).toEqual(
        [...stored].filter((offset) => !finished.has(offset)).toSorted((a, b) => a - b),
      )
    }),
    { numRuns: 60 },
  )
  await store.close()
})

test('the sweeper leaves the place of what was passed over', async () => {
  const store = await openAt(freshDirectory())
  await store.publish([message(1)])
  const held = await store.lease(lease)
  await store.settle(held.map((item) => ({ ...settleOf(item), verdict: 'pass' })))
  await store.sweep()
  const found = await store.lease({ ...lease, passedOver: { after: 0, first: true } })
  expect(found.map(({ place }) => place)).toEqual([1])
  await store.close()
})

test('messages that wait for one another do not hide those behind them [lease:passed-over]', async () => {
  const count = 3000
  const store = await openAt(freshDirectory(), { limitsOf: () => CHANNEL_LIMITS_DEFAULT })
  const chained = Array.from({ length: count }, (_, i) => ({
    ...message(i + 1),
    orderingHash: 'liar 00',
  }))
  await store.publish([...chained, message(count + 1)])
  const offsets = async () => {
    const leased = await store.lease({ ...lease, countMax: 2 })
    return leased.map((one) => one.message.offset)
  }
  expect(await offsets()).toEqual([1])
  expect(await offsets()).toEqual([count + 1])
  await store.close()
})

test('a snapshot has what was published, and a failed one changes nothing', async () => {
  const store = await openAt(freshDirectory())
  const copy = freshDirectory()
  const snapshot = (directory: string) => store.snapshot(join(directory, 'channels.sqlite'))
  await store.publish([message(1)])
  // The folder does not exist.
  await expect(snapshot(copy)).rejects.toMatchObject({ name: 'SnapshotFault' })
  mkdirSync(copy)
  const [stored] = await Promise.all([store.publish([message(2)]), snapshot(copy)])
  expect(stored).toEqual([{ state: 'stored', offset: 2 }])
  // A file is never replaced.
  await expect(snapshot(copy)).rejects.toMatchObject({ name: 'SnapshotFault' })
  expect(await store.publish([message(3)])).toEqual([{ state: 'stored', offset: 3 }])
  await store.close()
  const restored = await openAt(copy)
  expect((await restored.stats())[0]).toMatchObject({ messages: 2, lastOffset: 2 })
  expect(await restored.lease(lease)).toHaveLength(2)
  await restored.close()
})
