import { createDecipheriv, createHmac, hkdfSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { systemRandom } from '../lib/random.ts'
import { DetailVault } from './details.ts'
import { LedgerDamage } from './store.ts'

const origin = 'ledger.test/ledger/a'

test('a detail is what the design record states, to the byte', () => {
  const key = systemRandom(32)
  const plaintext = Buffer.from('facts and salts')
  const sealed = new DetailVault(key, origin, systemRandom).seal(258, plaintext)
  const session = sealed.subarray(1, 17)
  const info = 'countersign-detail-v2'
  const sessionKey = Buffer.from(hkdfSync('sha256', key, session, info, 32))
  const index = Buffer.from([0, 0, 0, 0, 0, 0, 1, 2])
  const entryKey = createHmac('sha256', sessionKey).update(index).digest()
  const decipher = createDecipheriv('aes-256-gcm', entryKey, Buffer.alloc(12))
  decipher.setAAD(Buffer.concat([index, Buffer.from(origin)]))
  decipher.setAuthTag(sealed.subarray(-16))
  const opened = Buffer.concat([decipher.update(sealed.subarray(18, -16)), decipher.final()])
  expect(opened).toEqual(plaintext)
  expect([sealed[0], sealed[17]]).toEqual([2, 0])
})

test('a detail opens after a restart, and only for its own entry of its own log', () => {
  const key = systemRandom(32)
  const sealed = new DetailVault(key, origin, systemRandom).seal(7, Buffer.from('detail'))
  const restarted = new DetailVault(key, origin, systemRandom)
  expect(restarted.unseal(7, sealed).toString()).toBe('detail')
  expect(() => restarted.unseal(8, sealed)).toThrow(LedgerDamage)
  expect(() =>
    new DetailVault(key, 'ledger.test/ledger/b', systemRandom).unseal(7, sealed),
  ).toThrow(LedgerDamage)
  const stranger = new DetailVault(systemRandom(32), origin, systemRandom)
  expect(() => stranger.unseal(7, sealed)).toThrow(LedgerDamage)
})

test('every flipped bit of a sealed detail is found', () => {
  const vault = new DetailVault(systemRandom(32), origin, systemRandom)
  const sealed = vault.seal(1, Buffer.from('a detail of some length'))
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const flipped = Buffer.from(sealed)
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    expect(() => vault.unseal(1, flipped), `bit ${bit}`).toThrow(LedgerDamage)
  }
  expect(() => vault.unseal(1, sealed.subarray(0, 20))).toThrow(LedgerDamage)
})

test('one index sealed in two sessions, or two in one, never share a key stream', () => {
  const key = systemRandom(32)
  const plain = Buffer.alloc(64)
  const [vault, other] = [0, 1].map(() => new DetailVault(key, origin, systemRandom))
  if (vault === undefined || other === undefined) throw new Error('two vaults')
  const streams = [vault.seal(3, plain), other.seal(3, plain), vault.seal(4, plain)].map((sealed) =>
    sealed.subarray(18, 82).toString('hex'),
  )
  expect(new Set(streams).size).toBe(3)
})

test('the key of an entry encrypts once: no index is sealed again, and none before it', () => {
  const vault = new DetailVault(systemRandom(32), origin, systemRandom)
  vault.seal(5, Buffer.from('one'))
  for (const index of [5, 4, 0]) {
    expect(() => vault.seal(index, Buffer.from('two'))).toThrow(RangeError)
  }
  expect(vault.unseal(6, vault.seal(6, Buffer.from('next'))).toString()).toBe('next')
})
