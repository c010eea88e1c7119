import { afterEach, describe, expect, test } from 'vitest'
import type {
  ChannelStore,
  LeaseCommand,
  Leased,
  PublishCommand,
  Settle,
} from '../../packages/fabric/src/channels/channel-store.ts'

/** A store under test, with at most three attempts and ten messages a channel. */
export interface ChannelStoreUnderTest {
  readonly store: ChannelStore
  /** Closes it in an orderly way and opens what it kept. */
  readonly reopen: () => Promise<ChannelStore>
}

const hour = 3_600_000
const start = 1_700_000_000_000

/**
 * The contract of every channel store. Each adapter's test calls this and adds only its own quirks.
 */
export function channelStoreContract(
  engine: string,
  open: () => Promise<ChannelStoreUnderTest>,
): void {
  describe(`channel store on ${engine}`, () => {
    const opened: ChannelStore[] = []
    const openStore = async (): Promise<ChannelStoreUnderTest> => {
      const { store, reopen } = await open()
      opened.push(store)
      return {
        store,
        reopen: async () => {
          const again = await reopen()
          opened.push(again)
          return again
        },
      }
    }
    afterEach(async () => {
      for (const store of opened.splice(0)) await store.close()
    })

    test('offsets start at one and have no gaps, in the order of the arguments', async () => {
      const { store } = await openStore()
      const results = await store.publish([message(1), message(2), message(3)])
      expect(results).toEqual([1, 2, 3].map((offset) => ({ state: 'stored', offset })))
    })

    test('channels count their offsets apart', async () => {
      const { store } = await openStore()
      await store.publish([message(1), message(2)])
      const [other] = await store.publish([{ ...message(3), channel: 'other' }])
      expect(other).toEqual({ state: 'stored', offset: 1 })
      expect((await store.lease({ ...lease, channel: 'other' })).map(bodyOf)).toEqual([3])
    })

    test('a leased message is the published one, byte for byte', async () => {
      const { store } = await openStore()
      const sealed = Uint8Array.from({ length: 70_000 }, (_, i) => (i * 7) & 0xff)
      await store.publish([message(1), { ...message(2), sealed }, message(3)])
      const leased = await store.lease(lease)
      expect(leased[1]?.message.sealed).toEqual(sealed)
      expect(leased.map(({ message: { messageId } }) => messageId)).toEqual(['m1', 'm2', 'm3'])
      expect(leased.map(({ attempt }) => attempt)).toEqual([1, 1, 1])
    })

    test('competing consumers of a group never hold the same message', async () => {
      const { store } = await openStore()
      await store.publish([1, 2, 3, 4, 5, 6].map((n) => message(n)))
      const held = await Promise.all([1, 2, 3].map(() => store.lease({ ...lease, countMax: 2 })))
      expect(
        held
          .flat()
          .map(bodyOf)
          .toSorted((a, b) => a - b),
      ).toEqual([1, 2, 3, 4, 5, 6])
    })

    test('a message that was never handed over is due again, and its attempt does not count', async () => {
      const { store } = await openStore()
      await store.publish([message(1), message(2)])
      const [first, second] = await store.lease(lease)
      if (first === undefined || second === undefined) throw new Error('nothing was leased')
      const back = { ...settle(first), verdict: 'return' } as const
      expect(await store.settle([back, { ...back, leaseToken: 'another' }])).toEqual([true, false])
      const again = await store.lease({ ...lease, now: lease.now + 1 })
      expect(again.map((one) => [bodyOf(one), one.attempt])).toEqual([[1, 1]])
    })

    test('a message that was passed over stands behind new ones, keeps its place and outlives a restart', async () => {
      const { store, reopen } = await openStore()
      await store.publish([message(1), message(2), message(3)])
      const [first, second] = await store.lease({ ...lease, countMax: 2 })
      if (first === undefined || second === undefined) throw new Error('nothing was leased')
      await store.settle([first, second].map((one) => ({ ...settle(one), verdict: 'pass' })))
      const [fresh] = await store.lease({ ...lease, countMax: 1 })
      expect(fresh === undefined ? null : [bodyOf(fresh), fresh.place]).toEqual([3, null])
      const late = { ...lease, now: lease.now + 60_000 }
      const behind = await store.lease({ ...late, passedOver: { after: 1, first: true } })
      expect(behind.filter(({ place }) => place !== null).map(bodyOf)).toEqual([2])
      const [kept] = behind.filter(({ place }) => place !== null)
      const back = { ...settle(kept, { now: late.now }), verdict: 'pass', place: 2 } as const
      expect(await store.settle([back])).toEqual([true])
      expect(await store.settle([back])).toEqual([false])
      await store.close()
      const again = await reopen()
      const all = await again.lease({ ...late, passedOver: { after: 0, first: true } })
      const places = all.filter(({ place }) => place !== null)
      expect(places.map((one) => [bodyOf(one), one.place, one.attempt])).toEqual([
        [1, 1, 1],
        [2, 2, 1],
      ])
    })

    test('every group sees every message', async () => {
      const { store } = await openStore()
      await store.publish([message(1), message(2)])
      const a = await store.lease({ ...lease, group: 'a' })
      await store.settle(a.map((item) => settle(item, { group: 'a' })))
      expect((await store.lease({ ...lease, group: 'b' })).map(bodyOf)).toEqual([1, 2])
      expect(await store.lease({ ...lease, group: 'a' })).toEqual([])
    })

    test('the same message twice is stored once', async () => {
      const { store } = await openStore()
      await store.publish([message(1)])
      expect(await store.publish([message(1)])).toEqual([{ state: 'duplicate', offset: 1 }])
      expect(await store.publish([message(2), message(2)])).toEqual([
        { state: 'stored', offset: 2 },
        { state: 'duplicate', offset: 2 },
      ])
      expect(await store.lease(lease)).toHaveLength(2)
    })

    test('another message under a used idempotency key is a conflict', async () => {
      const { store } = await openStore()
      await store.publish([message(1)])
      const other = { ...message(2), idempotencyHash: message(1).idempotencyHash }
      expect(await store.publish([other])).toEqual([{ state: 'conflict' }])
      expect(await store.lease(lease)).toHaveLength(1)
    })

    test('an idempotency key of another channel is another key', async () => {
      const { store } = await openStore()
      await store.publish([message(1)])
      const [other] = await store.publish([{ ...message(1), channel: 'other' }])
      expect(other?.state).toBe('stored')
    })

    test('a full channel refuses and keeps what it has', async () => {
      const { store } = await openStore()
      const all = Array.from({ length: 11 }, (_, i) => message(i + 1))
      const results = await store.publish(all)
      expect(results[9]).toEqual({ state: 'stored', offset: 10 })
      expect(results[10]).toEqual({ state: 'full' })
      expect(await store.lease(lease)).toHaveLength(10)
    })

    test('a lease that runs out gives the message to the next, and the first token is void', async () => {
      const { store } = await openStore()
      await store.publish([message(1)])
      const [first] = await store.lease(lease)
      expect(await store.lease({ ...lease, now: start + 999 })).toEqual([])
      const [second] = await store.lease({ ...lease, now: start + 1000 })
      expect(second?.attempt).toBe(2)
      expect(second?.leaseToken).not.toBe(first?.leaseToken)
      const late = settle(first, { now: start + 1001 })
      const current = settle(second, { now: start + 1001 })
      expect(await store.settle([late])).toEqual([false])
      expect(await store.settle([current, current])).toEqual([true, false])
      expect(await store.lease({ ...lease, now: start + hour - 1 })).toEqual([])
    })

    test('an acknowledgement after the lease ran out changes nothing, even without another consumer', async () => {
      const { store } = await openStore()
      await store.publish([message(1)])
      const [held] = await store.lease(lease)
      expect(await store.settle([settle(held, { now: start + 1000 })])).toEqual([false])
      expect(await store.lease({ ...lease, now: start + 1000 })).toHaveLength(1)
    })

    test('a token settles only its own offset and group', async () => {
      const { store } = await openStore()
      await store.publish([message(1)])
      const [held] = await store.lease(lease)
      await store.lease({ ...lease, group: 'b' })
      expect(await store.settle([settle(held, { group: 'b' })])).toEqual([false])
      expect(await store.settle([settle(held, { offset: 2 })])).toEqual([false])
      expect(await store.settle([settle(held, { channel: 'other' })])).toEqual([false])
      expect(await store.settle([settle(held, { leaseToken: 'guessed' })])).toEqual([false])
    })

    test('a retry waits for its delay', async () => {
      const { store } = await openStore()
      await store.publish([message(1)])
      const [held] = await store.lease(lease)
      await store.settle([settle(held, { verdict: 'nack', delayMs: 5000 })])
      expect(await store.lease({ ...lease, now: start + 4999 })).toEqual([])
      const [again] = await store.lease({ ...lease, now: start + 5000 })
      expect(again?.attempt).toBe(2)
    })

    test('a consumer that crashes in a loop ends in the dead letters', async () => {
      const { store } = await openStore()
      await store.publish([message(1)])
      for (let attempt = 0; attempt < 3; attempt++) {
        expect(await store.lease({ ...lease, now: start + attempt * 1000 })).toHaveLength(1)
      }
      expect(await store.lease({ ...lease, now: start + 3000 })).toEqual([])
      const [letter] = await store.dead('orders', 10)
      expect(letter).toMatchObject({ offset: 1, messageId: 'm1', attempts: 3, group: 'workers' })
    })

    test('a retry at the cap is a dead letter at once', async () => {
      const { store } = await openStore()
      await store.publish([message(1)])
      for (let attempt = 0; attempt < 3; attempt++) {
        const [held] = await store.lease({ ...lease, now: start + attempt })
        const order = { verdict: 'nack' as const, now: start + attempt }
        expect(await store.settle([settle(held, order)])).toEqual([true])
      }
      expect(await store.dead('orders', 10)).toHaveLength(1)
      expect(await store.lease({ ...lease, now: start + hour - 1 })).toEqual([])
    })

    test('a dead letter keeps its reason, and comes back with its attempts at zero', async () => {
      const { store } = await openStore()
      await store.publish([message(1)])
      const [held] = await store.lease(lease)
      await store.settle([settle(held, { verdict: 'reject', reason: 'BAD_SIGNATURE' })])
      expect((await store.dead('orders', 10))[0]).toMatchObject({ reason: 'BAD_SIGNATURE' })
      expect((await store.stats())[0]).toMatchObject({ channel: 'orders', dead: 1 })
      expect(await store.redrive('orders', 'workers', 1, start + 5)).toBe(true)
      expect(await store.redrive('orders', 'workers', 1, start + 5)).toBe(false)
      const [again] = await store.lease({ ...lease, now: start + 5 })
      expect(again?.attempt).toBe(1)
      expect(await store.dead('orders', 10)).toEqual([])
    })

    test('an expired message is never leased and is a dead letter', async () => {
      const { store } = await openStore()
      await store.publish([message(1), { ...message(2), expiresAt: start + 10 }])
      const leased = await store.lease({ ...lease, now: start + 10 })
      expect(leased.map(bodyOf)).toEqual([1])
      expect(await store.dead('orders', 10)).toMatchObject([{ offset: 2, reason: 'EXPIRED' }])
    })

    test('only the oldest unsettled message of an ordering key is leased', async () => {
      const { store } = await openStore()
      const keyed = (n: number, orderingHash: string | null) => ({ ...message(n), orderingHash })
      await store.publish([
        keyed(1, 'k'),
        keyed(2, 'k'),
        keyed(3, null),
        keyed(4, 'j'),
        keyed(5, 'k'),
      ])
      const first = await store.lease(lease)
      expect(first.map(bodyOf)).toEqual([1, 3, 4])
      await store.settle([settle(first[0], { verdict: 'nack', delayMs: 100 })])
      expect(await store.lease({ ...lease, now: start + 50 })).toEqual([])
      const [again] = await store.lease({ ...lease, now: start + 100 })
      expect(again?.message.offset).toBe(1)
      await store.settle([settle(again, { now: start + 101 })])
      const [second] = await store.lease({ ...lease, now: start + 102 })
      expect(second?.message.offset).toBe(2)
      await store.settle([settle(second, { now: start + 103, verdict: 'reject', reason: 'no' })])
      const [third] = await store.lease({ ...lease, now: start + 104 })
      expect(third?.message.offset).toBe(5)
    })

    test('everything is there after closing and opening again', async () => {
      const { store, reopen } = await openStore()
      await store.publish([message(1), message(2), message(3), message(4)])
      const held = await store.lease({ ...lease, countMax: 3 })
      await store.settle([settle(held[0]), settle(held[1], { verdict: 'reject', reason: 'no' })])
      await store.close()
      const again = await reopen()
      expect(await again.settle([settle(held[2], { now: start + 1 })])).toEqual([true])
      expect((await again.lease({ ...lease, now: start + 2 })).map(bodyOf)).toEqual([4])
      expect(await again.dead('orders', 10)).toMatchObject([{ offset: 2, reason: 'no' }])
      expect(await again.publish([message(1)])).toEqual([{ state: 'duplicate', offset: 1 }])
      expect(await again.publish([message(5)])).toEqual([{ state: 'stored', offset: 5 }])
      const found = await again.find('orders', 2)
      expect(found).toMatchObject({ messageId: 'm2', offset: 2, storedAt: start })
      expect(await again.find('orders', 9)).toBeNull()
      expect(await again.find('nowhere', 1)).toBeNull()
    })

    test('after closing, every call rejects', async () => {
      const { store } = await openStore()
      await store.close()
      await expect(store.publish([message(1)])).rejects.toThrow()
      await expect(store.lease(lease)).rejects.toThrow()
    })
  })
}

const lease: LeaseCommand = {
  channel: 'orders',
  group: 'workers',
  countMax: 100,
  bytesMax: 8 * 1024 * 1024,
  now: start,
  leaseMs: 1000,
}

export function message(n: number): PublishCommand {
  return {
    channel: 'orders',
    messageId: `m${n}`,
    idempotencyHash: `key${n}`,
    contentHash: `content${n}`,
    orderingHash: null,
    sealed: Uint8Array.of(n & 0xff),
    now: start,
    expiresAt: start + hour,
  }
}

function settle(leased: Leased | undefined, changes: Partial<Settle> = {}): Settle {
  if (leased === undefined) throw new Error('nothing was leased')
  return {
    channel: 'orders',
    group: 'workers',
    offset: leased.message.offset,
    leaseToken: leased.leaseToken,
    now: start,
    verdict: 'ack',
    delayMs: 0,
    reason: '',
    ...changes,
  }
}

function bodyOf({ message: { sealed } }: Leased): number {
  return sealed[0] ?? -1
}
