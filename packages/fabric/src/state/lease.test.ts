import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { type LeaseMemory, memoryLeaseStore } from '../../../../test/harness/memory-leases.ts'
import { type HeldLease, LeaseLost, takeLease } from './lease.ts'
import type { LeaseStore } from './lease-store.ts'

const leaseMs = 9_000

/** A clock that a test sets, and stores that share their leases. */
function lab() {
  let now = 0
  const clock = { monotonic: () => now }
  const leases: LeaseMemory = new Map()
  const take = async (store: LeaseStore = memoryLeaseStore(clock, leases)) =>
    takeLease({ store, clock, leaseMs, name: 'a', note: '', isFormerEnded: false })
  return {
    ...{ clock, leases, take },
    pass(ms: number) {
      now += ms
    },
  }
}

async function taken(lease: Promise<HeldLease | null>): Promise<HeldLease> {
  const held = await lease
  if (held === null) throw new Error('the lease is free')
  return held
}

describe('a lease', () => {
  test('is held until just before the store gives it to another', async () => {
    const { take, pass } = lab()
    const lease = await taken(take())
    expect([lease.holds(), lease.regain()]).toEqual([true, null])
    pass(leaseMs * 0.98)
    expect(lease.holds()).toBe(true)
    pass(leaseMs * 0.02)
    expect(lease.holds()).toBe(false)
  })

  test('counts a renewal from before it was sent', async () => {
    const { take, pass, clock, leases } = lab()
    const slow = memoryLeaseStore(clock, leases)
    const lease = await taken(
      take({
        ...slow,
        async renew(renewal) {
          pass(leaseMs / 2)
          return slow.renew(renewal)
        },
      }),
    )
    await lease.renew()
    pass(leaseMs * 0.6)
    // The store would still refuse another process; the holder does not rely on that.
    expect(lease.holds()).toBe(false)
    expect(await take()).toBeNull()
  })

  test('that expired is regained as long as no other process took it', async () => {
    const { take, pass } = lab()
    const lease = await taken(take())
    pass(leaseMs * 3)
    expect(lease.holds()).toBe(false)
    await lease.regain()
    expect(lease.holds()).toBe(true)
    expect(lease.token).toBe(1)
  })

  test('that another process took is lost for good, and this is reported once', async () => {
    const { take, pass } = lab()
    const lease = await taken(take())
    const lost = vi.fn<(cause: LeaseLost) => void>()
    lease.onLost(lost)
    pass(leaseMs)
    const other = await taken(take())
    expect([lease.holds(), other.holds(), other.token]).toEqual([false, true, 2])
    await expect(lease.regain()).rejects.toThrow('another process took it')
    await expect(lease.renew()).rejects.toThrow(LeaseLost)
    pass(leaseMs * 5)
    await expect(lease.regain()).rejects.toThrow(LeaseLost)
    expect(lost).toHaveBeenCalledOnce()
    await lease.release()
    expect(await take()).not.toBeNull()
  })

  test('is lost when the store cannot be asked for the time of one more lease', async () => {
    const { take, pass, clock, leases } = lab()
    const store = memoryLeaseStore(clock, leases)
    const lease = await taken(
      take({
        ...store,
        renew() {
          pass(leaseMs / 4)
          return Promise.reject(new Error('no connection'))
        },
      }),
    )
    await expect(lease.renew()).rejects.toThrow('no connection')
    expect(lease.holds()).toBe(true)
    pass(leaseMs)
    vi.useFakeTimers()
    try {
      const regained = expect(lease.regain()).rejects.toThrow('could not be renewed in time')
      await vi.advanceTimersByTimeAsync(leaseMs)
      await regained
    } finally {
      vi.useRealTimers()
    }
  })

  test('is renewed on its own, and free at once when it is released', async () => {
    vi.useFakeTimers()
    try {
      const { take, pass } = lab()
      const lease = await taken(take())
      lease.start()
      for (let third = 0; third < 30; third++) {
        pass(leaseMs / 3)
        await vi.advanceTimersByTimeAsync(leaseMs / 3)
        expect(lease.holds()).toBe(true)
      }
      await lease.release()
      expect(vi.getTimerCount()).toBe(0)
      expect(lease.holds()).toBe(false)
      expect((await taken(take())).token).toBe(2)
    } finally {
      vi.useRealTimers()
    }
  })
})

/** Requests reach the store, and answers the holder, only when the test lets them. */
class DelayedStore {
  readonly store: LeaseStore
  readonly #steps: (() => void)[] = []

  constructor(inner: LeaseStore) {
    const delayed = async <Result>(call: () => Promise<Result>): Promise<Result> => {
      await this.#step()
      const result = await call()
      await this.#step()
      return result
    }
    this.store = {
      ...inner,
      take: (request) => delayed(() => inner.take(request)),
      renew: (renewal) => delayed(() => inner.renew(renewal)),
      release: (claim) => delayed(() => inner.release(claim)),
    }
  }

  #step(): Promise<void> {
    return new Promise((resolve) => this.#steps.push(resolve))
  }

  /** Lets one request or answer through. */
  async deliver(at: number): Promise<void> {
    const [step] = this.#steps.length === 0 ? [] : this.#steps.splice(at % this.#steps.length, 1)
    step?.()
    for (let turn = 0; turn < 8; turn++) await Promise.resolve()
  }
}

const command = fc.oneof(
  fc.record({ kind: fc.constantFrom('take', 'renew', 'release'), process: fc.nat({ max: 2 }) }),
  fc.record({ kind: fc.constant('deliver' as const), at: fc.nat({ max: 7 }) }),
  fc.record({ kind: fc.constant('pass' as const), ms: fc.nat({ max: leaseMs }) }),
)

test('at most one process believes that it holds a lease, at any instant', async () => {
  let handovers = 0
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 20, maxLength: 120 }), async (commands) => {
      const { clock, leases, take, pass } = lab()
      const delayed = new DelayedStore(memoryLeaseStore(clock, leases))
      const held = new Map<number, HeldLease>()
      const tokens: number[] = []
      const assertOne = () => {
        const holders = [...held.values()].filter((lease) => lease.holds())
        expect(holders.length).toBeLessThanOrEqual(1)
      }
      for (const each of commands) {
        if ('at' in each) await delayed.deliver(each.at)
        else if ('ms' in each) pass(each.ms)
        else if (each.kind === 'take') {
          if (held.has(each.process)) continue
          void take(delayed.store).then((lease) => {
            if (lease === null || held.has(each.process)) return
            held.set(each.process, lease)
            tokens.push(lease.token)
          })
        } else if (each.kind === 'renew') {
          void held
            .get(each.process)
            ?.renew()
            .catch(() => held.delete(each.process))
        } else {
          void held.get(each.process)?.release()
          held.delete(each.process)
        }
        assertOne()
      }
      expect(new Set(tokens).size).toBe(tokens.length)
      handovers += Math.max(0, tokens.length - 1)
    }),
    { numRuns: 150 },
  )
  // The interleavings are of use only if leases change hands in them.
  expect(handovers).toBeGreaterThan(20)
})
