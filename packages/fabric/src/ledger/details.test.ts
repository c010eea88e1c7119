import { createDecipheriv, createHmac, hkdfSync } from 'node:crypto'
import { toHex } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { systemRandom } from '../lib/random.ts'
import { DetailVault, referencesOf, type SubjectKeys } from './details.ts'
import { LedgerDamage } from './store.ts'

const origin = 'ledger.test/ledger/a'

function vaultOf(detailKey: Uint8Array, subjects: SubjectKeys = none, ofOrigin = origin) {
  return new DetailVault({ detailKey, origin: ofOrigin, subjects }, systemRandom)
}

const none: SubjectKeys = {
  keyOf() {
    throw new LedgerDamage('an unknown reference')
  },
}

/** Subjects, and the keys of all that are not erased. */
function threeSubjects() {
  const three = [1, 2, 3].map(() => ({ reference: systemRandom(16), key: systemRandom(32) }))
  const keys = new Map<string, Uint8Array | null>()
  for (const { reference, key } of three) keys.set(toHex(reference), key)
  const subjects: SubjectKeys = {
    keyOf: (reference) => keys.get(toHex(reference)) ?? null,
  }
  const erase = (at: number): void => {
    keys.set(toHex(three[at]?.reference ?? systemRandom(16)), null)
  }
  return { three, subjects, erase }
}

test('a detail is what the design record states, to the byte', () => {
  const key = systemRandom(32)
  const plaintext = Buffer.from('facts and salts')
  const sealed = vaultOf(key).seal(258, plaintext)
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
  const sealed = vaultOf(key).seal(7, Buffer.from('detail'))
  const restarted = vaultOf(key)
  expect(restarted.unseal(7, sealed)?.toString()).toBe('detail')
  expect(() => restarted.unseal(8, sealed)).toThrow(LedgerDamage)
  expect(() => vaultOf(key, none, 'ledger.test/ledger/b').unseal(7, sealed)).toThrow(LedgerDamage)
  const stranger = vaultOf(systemRandom(32))
  expect(() => stranger.unseal(7, sealed)).toThrow(LedgerDamage)
})

test('every flipped bit of a sealed detail is found', () => {
  const vault = vaultOf(systemRandom(32))
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
  const [vault, other] = [0, 1].map(() => vaultOf(key))
  if (vault === undefined || other === undefined) throw new Error('two vaults')
  const streams = [vault.seal(3, plain), other.seal(3, plain), vault.seal(4, plain)].map((sealed) =>
    sealed.subarray(18, 82).toString('hex'),
  )
  expect(new Set(streams).size).toBe(3)
})

test('the key of an entry encrypts once: no index is sealed again, and none before it', () => {
  const vault = vaultOf(systemRandom(32))
  vault.seal(5, Buffer.from('one'))
  for (const index of [5, 4, 0]) {
    expect(() => vault.seal(index, Buffer.from('two'))).toThrow(RangeError)
  }
  expect(vault.unseal(6, vault.seal(6, Buffer.from('next')))?.toString()).toBe('next')
})

test('the key of an entry is made of the keys of its subjects, in their order', () => {
  const { three, subjects } = threeSubjects()
  const detailKey = systemRandom(32)
  const sealed = vaultOf(detailKey, subjects).seal(258, Buffer.from('facts'), three)
  const info = 'countersign-detail-v2'
  const sessionKey = Buffer.from(hkdfSync('sha256', detailKey, sealed.subarray(1, 17), info, 32))
  const index = Buffer.from([0, 0, 0, 0, 0, 0, 1, 2])
  const input = Buffer.concat([index, ...three.map(({ key }) => key)])
  const entryKey = createHmac('sha256', sessionKey).update(input).digest()
  const decipher = createDecipheriv('aes-256-gcm', entryKey, Buffer.alloc(12))
  decipher.setAAD(Buffer.concat([index, Buffer.from(origin)]))
  decipher.setAuthTag(sealed.subarray(-16))
  const at = 18 + 3 * 16
  const opened = Buffer.concat([decipher.update(sealed.subarray(at, -16)), decipher.final()])
  expect(opened.toString()).toBe('facts')
  expect([...sealed.subarray(17, at)]).toEqual([
    3,
    ...three.flatMap(({ reference }) => [...reference]),
  ])
})

test('an entry does not open once any one of its subjects is erased, and others do', () => {
  for (const gone of [0, 1, 2]) {
    const { three, subjects, erase } = threeSubjects()
    const vault = vaultOf(systemRandom(32), subjects)
    const rest = three.filter((_, i) => i !== gone)
    const [of, other] = [
      vault.seal(1, Buffer.from('a'), three),
      vault.seal(2, Buffer.from('b'), rest),
    ]
    expect(vault.unseal(1, of)?.toString()).toBe('a')
    erase(gone)
    expect(vault.unseal(1, of)).toBeNull()
    expect(vault.unseal(2, other)?.toString()).toBe('b')
  }
})

test('references of a detail are those of its subjects; another one of them opens nothing', () => {
  const { three, subjects } = threeSubjects()
  const [first, second, third] = three
  if (first === undefined || second === undefined || third === undefined) throw new Error('three')
  const vault = vaultOf(systemRandom(32), subjects)
  const sealed = vault.seal(1, Buffer.from('a'), [first, second])
  expect(referencesOf(1, sealed)).toEqual(
    [first, second].map((each) => Buffer.from(each.reference)),
  )
  for (const [at, by] of [
    [18, second],
    [18 + 16, first],
    [18, third],
  ] as const) {
    const changed = Buffer.from(sealed)
    changed.set(by.reference, at)
    expect(() => vault.unseal(1, changed)).toThrow(LedgerDamage)
  }
  expect(() => vault.unseal(1, sealed.subarray(0, 18 + 2 * 16 + 15))).toThrow(LedgerDamage)
})
