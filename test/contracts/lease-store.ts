import { afterEach, describe, expect, test } from 'vitest'
import {
  type LeaseRequest,
  type LeaseStore,
  leaseNoteBytesMax,
  leasesMax,
} from '../../packages/fabric/src/state/lease-store.ts'

/** One place where leases are kept, at a clock that the test sets. */
export interface LeasePlace {
  /** Opens it, each time as another process would. */
  open(): Promise<LeaseStore>
  /** Lets time pass on the clock of the store. */
  advance(ms: number): void | Promise<void>
  /** The precision of `advance`; real clocks go on by themselves. Default: 1 ms. */
  readonly slackMs?: number
}

const leaseMs = 10_000
const request = (name: string, more: Partial<LeaseRequest> = {}): LeaseRequest => ({
  ...{ name, leaseMs, note: 'here', isFormerEnded: false, ...more },
})

/** The contract of every lease store. */
export function leaseStoreContract(engine: string, make: () => Promise<LeasePlace>): void {
  const opened: LeaseStore[] = []
  const openTwo = async () => {
    const place = await make()
    const [one, two] = [await place.open(), await place.open()]
    opened.push(one, two)
    return { one, two, place, slackMs: place.slackMs ?? 1 }
  }

  describe(`lease store on ${engine}`, () => {
    afterEach(async () => {
      for (const store of opened.splice(0)) await store.close()
    })

    test('a lease has one holder, until it expires by the clock of the store', async () => {
      const { one, two, place, slackMs } = await openTwo()
      expect(await one.take(request('a'))).toBe(1)
      expect(await two.take(request('a'))).toBeNull()
      expect(await one.take(request('a'))).toBeNull()
      await place.advance(leaseMs - slackMs)
      expect(await two.take(request('a'))).toBeNull()
      await place.advance(slackMs)
      expect(await two.take(request('a'))).toBe(2)
    })

    test('a renewal counts from its own time, and the holder of an old token has none', async () => {
      const { one, two, place, slackMs } = await openTwo()
      const token = await one.take(request('a'))
      if (token === null) throw new Error('the lease is free')
      await place.advance(leaseMs - slackMs)
      expect(await one.renew({ name: 'a', token, leaseMs, note: 'there' })).toBe(true)
      await place.advance(leaseMs - slackMs)
      expect(await two.take(request('a'))).toBeNull()
      await place.advance(slackMs)
      const next = await two.take(request('a'))
      expect(next).toBe(token + 1)
      expect(await one.renew({ name: 'a', token, leaseMs, note: '' })).toBe(false)
      await one.release({ name: 'a', token })
      expect(await one.take(request('a'))).toBeNull()
    })

    test('a lease that expired is renewed as long as no other process took it', async () => {
      const { one, two, place } = await openTwo()
      expect(await one.take(request('a'))).toBe(1)
      await place.advance(leaseMs * 3)
      expect(await one.renew({ name: 'a', token: 1, leaseMs, note: '' })).toBe(true)
      expect(await two.take(request('a'))).toBeNull()
    })

    test('what was released is free at once, with a greater token, and is not renewed', async () => {
      const { one, two } = await openTwo()
      expect(await one.take(request('a'))).toBe(1)
      await one.release({ name: 'a', token: 1 })
      expect(await one.renew({ name: 'a', token: 1, leaseMs, note: '' })).toBe(false)
      expect(await two.list()).toEqual([{ name: 'a', token: 1, note: 'here', isHeld: false }])
      expect(await two.take(request('a'))).toBe(2)
    })

    test('a holder that proved the end of the former one takes its lease at once', async () => {
      const { one, two } = await openTwo()
      expect(await one.take(request('a'))).toBe(1)
      expect(await two.take(request('a', { isFormerEnded: true }))).toBe(2)
      expect(await one.renew({ name: 'a', token: 1, leaseMs, note: '' })).toBe(false)
    })

    test('leases are apart, and their notes are read by all', async () => {
      const { one, two, place } = await openTwo()
      await one.take(request('b', { note: 'b1' }))
      await two.take(request('a', { note: 'a1 “é”' }))
      await one.renew({ name: 'b', token: 1, leaseMs: leaseMs * 2, note: 'b2' })
      await place.advance(leaseMs)
      expect(await two.list()).toEqual([
        { name: 'a', token: 1, note: 'a1 “é”', isHeld: false },
        { name: 'b', token: 1, note: 'b2', isHeld: true },
      ])
    })

    test('two that ask at once do not both get the lease', async () => {
      const { one, two } = await openTwo()
      const stores = Array.from({ length: 8 }, (_, at) => (at % 2 === 0 ? one : two))
      const tokens = await Promise.all(stores.map((store) => store.take(request('a'))))
      expect(tokens.filter((token) => token !== null)).toEqual([1])
    })

    test('names and notes are bounded', async () => {
      const { one } = await openTwo()
      const long = 'x'.repeat(leaseNoteBytesMax + 1)
      await expect(one.take(request('a', { note: long }))).rejects.toThrow(RangeError)
      await expect(one.take(request('a', { note: '\0' }))).rejects.toThrow(TypeError)
      await expect(one.take(request('A'))).rejects.toThrow(TypeError)
      for (let at = 0; at < leasesMax; at++) expect(await one.take(request(`s${at}`))).toBe(1)
      await expect(one.take(request('one-more'))).rejects.toThrow(String(leasesMax))
      expect(await one.take(request('s0', { isFormerEnded: true }))).toBe(2)
    })
  })
}
