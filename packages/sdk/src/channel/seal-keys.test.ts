import { createSecretKey, generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { rawPublicKey } from '../identity/keys.ts'
import { messageNonce, rawSealingKey } from './seal-keys.ts'

test('a nonce is the prefix of the key and the sequence', () => {
  const key = {
    key: createSecretKey(new Uint8Array(32)),
    noncePrefix: Uint8Array.of(1, 2, 3, 4),
    commitment: new Uint8Array(32),
  }
  expect([...messageNonce(key, 258)]).toEqual([1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 1, 2])
})

test('a sealing key is read from X25519 alone, and raw bytes are taken as they are', () => {
  const { privateKey } = generateKeyPairSync('x25519')
  const raw = rawSealingKey(privateKey)
  expect(raw.privateKey).toHaveLength(32)
  expect(raw.publicKey).toEqual(rawPublicKey(privateKey))
  expect(() => rawSealingKey(generateKeyPairSync('ed25519').privateKey)).toThrow(TypeError)
  expect(() => rawSealingKey(generateKeyPairSync('x448').privateKey)).toThrow(TypeError)
  const seed = new Uint8Array(32).fill(7)
  expect(rawSealingKey(seed)).toEqual({ privateKey: seed, publicKey: null })
})
