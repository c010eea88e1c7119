import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Renewals } from './renewals.ts'

const alice = 'spiffe://a.test/agent/alice'
const leaf = (fingerprint: string, expiresAt: number) => ({ fingerprint, expiresAt })

test('a stream that began under a certificate goes on with every renewal of it', () => {
  const renewals = new Renewals({ now: () => 0 })
  renewals.enrolled(alice, leaf('c0', 100))
  expect(renewals.untilOf(alice, 'c0')).toBe(100)
  renewals.renewed(alice, leaf('c0', 100), leaf('c1', 150))
  renewals.renewed(alice, leaf('c1', 150), leaf('c2', 200))
  expect(['c0', 'c1', 'c2', 'other'].map((each) => renewals.untilOf(alice, each))).toEqual([
    ...[200, 200, 200, 0],
  ])
  expect(renewals.untilOf('spiffe://a.test/agent/bob', 'c0')).toBe(0)
})

test('a renewal after a restart continues the certificate that it came from', () => {
  const renewals = new Renewals({ now: () => 0 })
  renewals.renewed(alice, leaf('c4', 100), leaf('c5', 150))
  expect(renewals.untilOf(alice, 'c4')).toBe(150)
})

test('enrolling again begins anew, and the holder of the earlier keys gains nothing by renewing', () => {
  const renewals = new Renewals({ now: () => 0 })
  renewals.enrolled(alice, leaf('c0', 100))
  renewals.enrolled(alice, leaf('d0', 120))
  renewals.renewed(alice, leaf('c0', 100), leaf('c1', 150))
  expect(['c0', 'c1', 'd0'].map((each) => renewals.untilOf(alice, each))).toEqual([0, 0, 120])
})

test('connectors receive each renewal, for as long as it can carry a stream', () => {
  const renewals = new Renewals({ now: () => 0 })
  renewals.renewed(alice, leaf('c0', 1_000), leaf('c1', 2_000))
  expect(renewals.announced(900)).toEqual({ c0: 2_000 })
  expect(renewals.announced(1_500)).toEqual({ c0: 2_000 })
  expect(renewals.announced(1_000 + 3_900_000)).toEqual({})
})

test('of two lines of renewals from one certificate, the first that goes on is the one', () => {
  const renewals = new Renewals({ now: () => 0 })
  renewals.enrolled(alice, leaf('c0', 100))
  renewals.renewed(alice, leaf('c0', 100), leaf('c1', 150))
  // The answer was lost: asked again.
  expect(renewals.mayRenew(alice, 'c0')).toBe(true)
  renewals.renewed(alice, leaf('c0', 100), leaf('d1', 150))
  expect(['c0', 'c1', 'd1'].map((each) => renewals.mayRenew(alice, each))).toEqual([
    ...[true, true, true],
  ])
  renewals.renewed(alice, leaf('d1', 150), leaf('d2', 200))
  expect(['c0', 'c1', 'd1', 'd2'].map((each) => renewals.mayRenew(alice, each))).toEqual([
    ...[false, false, true, true],
  ])
  renewals.enrolled(alice, leaf('e0', 250))
  expect(renewals.mayRenew(alice, 'e0')).toBe(true)
})

test('no number of renewals of one certificate opens a second line', () => {
  const renewals = new Renewals({ now: () => 0 })
  renewals.enrolled(alice, leaf('c0', 100))
  const flood = Array.from({ length: 200 }, (_, at) => `t${at}`)
  for (const each of flood) renewals.renewed(alice, leaf('c0', 100), leaf(each, 150))
  expect(flood.filter((each) => renewals.mayRenew(alice, each))).toEqual(flood.slice(-8))
  // The agent's own renewal goes on, and with it ends every other.
  expect(renewals.renewed(alice, leaf('c0', 100), leaf('v1', 150))).toBe(true)
  expect(renewals.renewed(alice, leaf('v1', 150), leaf('v2', 200))).toBe(true)
  const others = ['c0', ...flood, 'never-seen']
  expect(others.filter((each) => renewals.mayRenew(alice, each))).toEqual([])
  expect(renewals.renewed(alice, leaf('t3', 150), leaf('t3b', 200))).toBe(false)
  expect(renewals.mayRenew('spiffe://a.test/agent/bob', 'b0')).toBe(true)
})

test('a superseded renewal is extended by nothing that was renewed next to it', () => {
  const renewals = new Renewals({ now: () => 0 })
  renewals.enrolled(alice, leaf('c0', 100))
  renewals.renewed(alice, leaf('c0', 100), leaf('t1', 150))
  renewals.renewed(alice, leaf('c0', 100), leaf('v1', 160))
  expect(['c0', 't1', 'v1'].map((each) => renewals.untilOf(alice, each))).toEqual([160, 150, 160])
  renewals.renewed(alice, leaf('v1', 160), leaf('v2', 200))
  expect(['c0', 't1', 'v1', 'v2'].map((each) => renewals.untilOf(alice, each))).toEqual([
    ...[200, 0, 200, 200],
  ])
  expect(renewals.announced(0)).toEqual({ c0: 200, v1: 200 })
})

test('for any renewals of two holders, in any order, one line goes on and extends only itself', () => {
  const steps = fc.array(fc.nat({ max: 40 }), { maxLength: 120 })
  fc.assert(
    fc.property(steps, (picks) => {
      const renewals = new Renewals({ now: () => 0 })
      renewals.enrolled(alice, leaf('0', 100))
      const from = new Map<string, string | null>([['0', null]])
      for (const [at, pick] of picks.entries()) {
        // Mostly of late ones, so that lines grow; all certificates ever issued can be picked.
        const parent = String(Math.max(0, from.size - 1 - pick))
        const next = String(from.size)
        if (renewals.renewed(alice, leaf(parent, 100), leaf(next, 101 + at))) from.set(next, parent)
      }
      const open = [...from.keys()].filter((each) => renewals.mayRenew(alice, each))
      // All that can go on are one certificate and renewals of it.
      const parents = new Set(open.map((each) => from.get(each)))
      expect(open.some((each) => open.every((o) => o === each || from.get(o) === each))).toBe(true)
      expect(parents.size).toBeLessThanOrEqual(2)
      expect(open.length).toBeLessThanOrEqual(9)
      const carried = Object.keys(renewals.announced(0))
      const last = open.at(-1) ?? ''
      const line = new Set<string>()
      for (let at: string | null = last; at !== null; at = from.get(at) ?? null) line.add(at)
      expect(carried.filter((each) => !line.has(each))).toEqual([])
    }),
  )
})

test('the renewals that are kept of one agent are bounded, by count and by time', () => {
  let now = 0
  const renewals = new Renewals({ now: () => now })
  const hour = 3_600_000
  for (let at = 0; at < 500; at++) {
    renewals.renewed(alice, leaf(`c${at}`, hour), leaf(`c${at + 1}`, hour + 1))
  }
  expect(renewals.mayRenew(alice, 'c500')).toBe(true)
  expect(Object.keys(renewals.announced(now)).length).toBeLessThanOrEqual(65)
  expect(renewals.untilOf(alice, 'c1')).toBe(0)
  now = 3 * hour
  renewals.renewed(alice, leaf('c500', hour), leaf('c501', 4 * hour))
  expect(renewals.untilOf(alice, 'c499')).toBe(0)
})
