import { generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { rawPublicKey } from './keys.ts'
import { publicKeyOf } from './public-key.ts'

test('a key is made of its bytes, once for each array', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const raw = rawPublicKey(privateKey)
  const key = publicKeyOf(raw)
  expect(key.equals(publicKey)).toBe(true)
  expect(publicKeyOf(raw)).toBe(key)
  expect(publicKeyOf(Uint8Array.from(raw))).not.toBe(key)
})

test('bytes that are not a key are rejected', () => {
  expect(() => publicKeyOf(new Uint8Array(31))).toThrow()
  expect(() => publicKeyOf(new Uint8Array(0))).toThrow()
})
