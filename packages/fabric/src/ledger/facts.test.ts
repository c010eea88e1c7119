import { encodeFact } from '@countersign/protocol'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { hmacSha256 } from '../lib/hmac.ts'
import { systemRandom } from '../lib/random.ts'
import { DetailVault } from './details.ts'
import { commitFacts, openFacts } from './facts.ts'
import { LedgerDamage } from './store.ts'

const value = fc.oneof(
  fc.string(),
  fc.maxSafeInteger(),
  fc.boolean(),
  fc.uint8Array({ maxLength: 80 }),
)
const facts = fc.dictionary(fc.stringMatching(/^[a-z][a-z0-9.-]{0,10}$/), value, { maxKeys: 12 })
const origin = 'ledger.test/log'

test('every commitment is the HMAC of its fact, and the detail opens all of them', () => {
  fc.assert(
    fc.property(facts, (given) => {
      const salts = systemRandom(32 * Object.keys(given).length)
      const { commitments, detail } = commitFacts(given, salts)
      const opened = openFacts(detail, commitments)
      expect(Object.fromEntries(opened.map((fact) => [fact.name, fact.value]))).toEqual({
        ...given,
      })
      for (const { name, value: fact, salt } of opened) {
        expect(Buffer.from(commitments.get(name) ?? [])).toEqual(
          hmacSha256(salt, encodeFact(name, fact)),
        )
      }
      expect(new Set(opened.map(({ salt }) => Buffer.from(salt).toString('hex'))).size).toBe(
        opened.length,
      )
    }),
  )
})

test('a detail with another value, one fact less or one fact twice opens nothing', () => {
  const salts = systemRandom(96)
  const { commitments } = commitFacts({ a: 'one', b: 2 }, salts)
  const other = commitFacts({ a: 'two', b: 2 }, salts)
  expect(() => openFacts(other.detail, commitments)).toThrow(LedgerDamage)
  const less = commitFacts({ a: 'one' }, salts)
  expect(() => openFacts(less.detail, commitments)).toThrow(LedgerDamage)
  const whole = commitFacts({ a: 'one', b: 2 }, salts).detail
  const twice = Buffer.concat([less.detail, whole])
  expect(() => openFacts(twice, commitments)).toThrow(LedgerDamage)
  expect(() => openFacts(whole.subarray(0, -1), commitments)).toThrow(LedgerDamage)
})

test('a detail opens after a restart, and only for its own entry of its own log', () => {
  const key = systemRandom(32)
  const sealed = new DetailVault(key, origin, systemRandom).seal(7, Buffer.from('detail'))
  const restarted = new DetailVault(key, origin, systemRandom)
  expect(restarted.unseal(7, sealed).toString()).toBe('detail')
  expect(() => restarted.unseal(8, sealed)).toThrow(LedgerDamage)
  expect(() => new DetailVault(key, 'other/log', systemRandom).unseal(7, sealed)).toThrow(
    LedgerDamage,
  )
  const stranger = new DetailVault(systemRandom(32), origin, systemRandom)
  expect(() => stranger.unseal(7, sealed)).toThrow(LedgerDamage)
})

test('every flipped bit of a sealed detail is found', () => {
  const vault = new DetailVault(systemRandom(32), origin, systemRandom)
  const sealed = vault.seal(1, Buffer.from('a detail of some length'))
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const flipped = Buffer.from(sealed)
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    expect(() => vault.unseal(1, flipped)).toThrow(LedgerDamage)
  }
})

test('one index sealed in two sessions never shares a key stream', () => {
  const key = systemRandom(32)
  const plain = Buffer.alloc(64)
  const [first, second] = [0, 1].map(() =>
    new DetailVault(key, origin, systemRandom).seal(3, plain),
  )
  expect(first?.subarray(17, 81)).not.toEqual(second?.subarray(17, 81))
})
