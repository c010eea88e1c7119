import { expect, test } from 'vitest'
import { Renewals } from './renewals.ts'

const alice = 'spiffe://a.test/agent/alice'
const leaf = (fingerprint: string, expiresAt: number) => ({ fingerprint, expiresAt })

test('what began under a certificate goes on with everything it is renewed to', () => {
  const renewals = new Renewals()
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
  const renewals = new Renewals()
  renewals.renewed(alice, leaf('c4', 100), leaf('c5', 150))
  expect(renewals.untilOf(alice, 'c4')).toBe(150)
})

test('enrolling again begins anew, and the holder of the earlier keys gains nothing by renewing', () => {
  const renewals = new Renewals()
  renewals.enrolled(alice, leaf('c0', 100))
  renewals.enrolled(alice, leaf('d0', 120))
  renewals.renewed(alice, leaf('c0', 100), leaf('c1', 150))
  expect(['c0', 'c1', 'd0'].map((each) => renewals.untilOf(alice, each))).toEqual([0, 0, 120])
})

test('connectors are told of what was renewed, for as long as it can carry a stream', () => {
  const renewals = new Renewals()
  renewals.renewed(alice, leaf('c0', 1_000), leaf('c1', 2_000))
  expect(renewals.announced(900)).toEqual({ c0: 2_000 })
  expect(renewals.announced(1_500)).toEqual({ c0: 2_000 })
  expect(renewals.announced(1_000 + 3_900_000)).toEqual({})
})

test('of two lines of renewals from one certificate, the first that goes on is the one', () => {
  const renewals = new Renewals()
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
