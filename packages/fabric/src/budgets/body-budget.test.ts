import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../lib/refusal.ts'
import { BodyBudget, BodyShare, bodyOverheadBytes } from './body-budget.ts'

const kib = 1024
let time = 0

function open(options: Partial<ConstructorParameters<typeof BodyBudget>[0]> = {}): BodyBudget {
  time = 0
  return new BodyBudget({
    name: 'limits.requestMemoryBytes',
    totalBytesMax: 400 * kib,
    identityBytesMax: 100 * kib,
    addressBytesMax: 200 * kib,
    floorBytes: 16 * kib,
    timeoutMs: 60_000,
    now: () => time,
    ...options,
  })
}

test('beyond its own share an identity loses its own body, and other identities lose none', () => {
  const budget = open()
  const other = budget.open('agent/other', 'b')
  other.take(50 * kib)
  const bodies = [budget.open('agent/greedy', 'a'), budget.open('agent/greedy', 'a')]
  for (const body of bodies) body.take(60 * kib)
  expect(bodies.filter(({ evicted }) => evicted !== null)).toHaveLength(1)
  expect(other.evicted).toBeNull()
  expect(budget.bytesOf('agent/greedy')).toBeLessThanOrEqual(100 * kib)
})

test('among bodies of one identity the largest and slowest goes first', () => {
  const budget = open()
  const slow = budget.open('agent/a', 'a')
  slow.take(45 * kib)
  time = 10_000
  const fast = budget.open('agent/a', 'a')
  fast.take(60 * kib)
  expect(slow.evicted).toMatchObject({ code: 'OVERLOADED', retryAfterMs: 1000 })
  expect(fast.evicted).toBeNull()
})

test('beyond the total the identity that occupies most makes room', () => {
  const budget = open({ identityBytesMax: 350 * kib, addressBytesMax: 400 * kib })
  const large = Array.from({ length: 30 }, () => budget.open('agent/large', 'a'))
  for (const body of large) body.take(6 * kib)
  const small = budget.open('agent/small', 'b')
  small.take(99 * kib)
  expect(small.evicted).toBeNull()
  expect(large.some(({ evicted }) => evicted !== null)).toBe(true)
  expect(budget.totalBytes).toBeLessThanOrEqual(400 * kib)
})

test('many identities of one address cannot occupy the room of others', () => {
  const budget = open()
  const neighbour = budget.open('agent/neighbour', 'b')
  neighbour.take(60 * kib)
  const crowd = Array.from({ length: 10 }, (_, i) => budget.open(`agent/${i}`, 'a'))
  for (const body of crowd) body.take(60 * kib)
  expect(neighbour.evicted).toBeNull()
  expect(budget.totalBytes).toBeLessThanOrEqual(300 * kib)
})

test('an identity that occupies little is never evicted for others', () => {
  const budget = open({ totalBytesMax: 50 * kib })
  const small = Array.from({ length: 20 }, (_, i) => budget.open(`agent/${i}`, `${i}`))
  for (const body of small) body.take(8 * kib)
  expect(small.every(({ evicted }) => evicted === null)).toBe(true)
})

test('a body that has arrived stays accounted for and is not evicted', () => {
  const budget = open()
  const whole = budget.open('agent/a', 'a')
  whole.take(80 * kib)
  whole.arrived()
  const next = budget.open('agent/a', 'a')
  next.take(40 * kib)
  expect(whole.evicted).toBeNull()
  expect(next.evicted).not.toBeNull()
  whole.close()
  expect(budget.totalBytes).toBe(0)
})

test('for any bodies, every bound holds and everything is given back', () => {
  const step = fc.record({
    identity: fc.integer({ min: 0, max: 5 }),
    address: fc.integer({ min: 0, max: 2 }),
    kib: fc.integer({ min: 0, max: 120 }),
    end: fc.constantFrom('arriving', 'whole', 'closed'),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const budget = open()
      const shares: BodyShare[] = []
      for (const { identity, address, kib: size, end } of steps) {
        time += 10
        const share = budget.open(`agent/${identity}`, `${address}`)
        shares.push(share)
        share.take(size * kib)
        if (end === 'whole') share.arrived()
        if (end === 'closed') share.close()
        expect(budget.totalBytes).toBeLessThanOrEqual(400 * kib + 6 * 16 * kib)
        for (let i = 0; i < 6; i++) {
          // A body that has arrived whole is not evicted, so one more body may be kept with it.
          expect(budget.bytesOf(`agent/${i}`)).toBeLessThanOrEqual(100 * kib + bodyOverheadBytes)
        }
      }
      for (const share of shares) share.close()
      expect(budget.totalBytes).toBe(0)
    }),
  )
})

describe('a budget of answers', () => {
  const answers = (now: { ms: number } = { ms: 0 }) =>
    new BodyBudget({
      kind: 'answers',
      name: 'limits.responseMemoryBytes',
      ...{ totalBytesMax: 8_000_000, identityBytesMax: 800_000, addressBytesMax: 2_000_000 },
      ...{ floorBytes: 1_000, timeoutMs: Number.POSITIVE_INFINITY },
      rate: { name: 'upstream.stallMs', stallMs: 30_000, bytesPerSecondMin: 4_096 },
      now: () => now.ms,
    })
  const held = (budget: BodyBudget, receiver: string, caller: string): BodyShare => {
    const share = budget.admit(receiver, caller)
    if (share instanceof Refusal) throw new Error(share.detail)
    return share
  }

  test('gives up the largest and slowest of a receiver that goes over its share', () => {
    const now = { ms: 0 }
    const budget = answers(now)
    const large = held(budget, 'shop', 'a')
    large.take(600_000)
    now.ms = 1_000
    const small = held(budget, 'shop', 'b')
    const other = held(budget, 'bank', 'b')
    other.take(700_000)
    small.take(300_000)
    expect(large.evicted).toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      limit: 'limits.responseMemoryBytes, 800000 bytes per receiver',
    })
    expect([small.evicted, other.evicted]).toEqual([null, null])
    expect(budget.bytesOf('shop')).toBe(small.bytes)
  })

  test('refuses exchanges that have not begun, of the caller that uses a receiver up, and of no other caller', () => {
    const budget = answers()
    for (let i = 0; i < 8; i++) held(budget, 'shop', 'greedy').take(95_000)
    expect(budget.admit('shop', 'greedy')).toMatchObject({
      code: 'OVERLOADED',
      retryAfterMs: 1_000,
    })
    const share = held(budget, 'shop', 'other')
    share.take(50_000)
    expect(share.evicted).toBeNull()
    expect(budget.bytesOf('shop')).toBeLessThanOrEqual(800_000)
  })

  test('refuses a caller that has used its own share, whatever the receiver', () => {
    const budget = answers()
    for (let i = 0; i < 19; i++) held(budget, `receiver ${i}`, 'greedy').take(95_000)
    expect(budget.admit('another', 'greedy')).toMatchObject({
      code: 'OVERLOADED',
      limit: 'limits.responseMemoryBytes, 2000000 bytes per caller',
    })
    expect(budget.admit('another', 'b')).toBeInstanceOf(BodyShare)
  })

  test('spares old streams that hold next to nothing, and counts their pace from their last pause', () => {
    const now = { ms: 0 }
    const budget = answers(now)
    const quiet = held(budget, 'shop', 'a')
    quiet.take(600)
    now.ms = 3_600_000
    const fresh = [held(budget, 'shop', 'b'), held(budget, 'shop', 'c')]
    for (const share of fresh) share.take(450_000)
    expect([quiet, ...fresh].map(({ evicted }) => evicted === null)).toEqual([true, false, true])
    quiet.isAwaited = true
    quiet.take(50_000)
    now.ms += 20_000
    quiet.take(1)
    now.ms += 20_000
    budget.sweep()
    expect(quiet.evicted).toBeNull()
  })

  test('gives back what is no longer held, and everything in the end', () => {
    const budget = answers()
    const share = held(budget, 'shop', 'a')
    const { bytes } = share
    share.take(1_000)
    share.give(400)
    expect(budget.totalBytes).toBe(bytes + 600)
    share.close()
    share.give(600)
    share.take(5)
    expect([budget.totalBytes, budget.bytesOf('shop')]).toEqual([0, 0])
  })

  test('gives up what stalls while much is held and its sender is waited for', () => {
    const now = { ms: 0 }
    const budget = answers(now)
    const shares = ['stalled', 'slow', 'steady', 'small', 'unread'].map((name) => {
      const share = held(budget, name, name)
      share.isAwaited = name !== 'unread'
      share.take(name === 'small' ? 500 : 20_000)
      return share
    })
    for (now.ms = 1_000; now.ms <= 120_000; now.ms += 1_000) {
      shares[1]?.take(1)
      shares[2]?.take(4_096)
      budget.sweep()
    }
    expect(shares.map(({ evicted }) => evicted?.limit ?? null)).toEqual([
      ...['upstream.stallMs, 30 s', 'upstream.stallMs, 30 s', null, null, null],
    ])
    for (const share of shares) share.close()
    budget.sweep()
  })
})
