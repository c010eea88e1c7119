import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { formatKeys, generateKeys, parseKeys, pem, rawPublicKey } from './keys.ts'

test('keys are written and read back, each of its kind', () => {
  const keys = generateKeys()
  expect(keys.tls.asymmetricKeyDetails?.namedCurve).toBe('prime256v1')
  expect(keys.signing.asymmetricKeyType).toBe('ed25519')
  expect(keys.sealing.asymmetricKeyType).toBe('x25519')
  const read = parseKeys(formatKeys(keys))
  expect(read.tls.equals(keys.tls)).toBe(true)
  expect(read.signing.equals(keys.signing)).toBe(true)
  expect(read.sealing.equals(keys.sealing)).toBe(true)
})

test('no two agents have a key in common', () => {
  const [a, b] = [formatKeys(generateKeys()), formatKeys(generateKeys())]
  expect(new Set([...Object.values(a), ...Object.values(b)]).size).toBe(6)
})

test('a key of another kind is not taken', () => {
  const texts = formatKeys(generateKeys())
  const wrong = [
    { ...texts, tls: pem(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey) },
    { ...texts, tls: texts.signing },
    { ...texts, signing: texts.sealing },
    { ...texts, sealing: texts.signing },
  ]
  for (const each of wrong) expect(() => parseKeys(each)).toThrow('IDENTITY_DAMAGED')
  expect(() => parseKeys({ ...texts, signing: 'no key' })).toThrow()
})

test('the public half of 32 bytes is that of the key', () => {
  const { signing, tls } = generateKeys()
  const spki = createPublicKey(signing).export({ format: 'der', type: 'spki' })
  expect(rawPublicKey(signing)).toEqual(new Uint8Array(spki.subarray(-32)))
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey
  expect(() => rawPublicKey(p384)).toThrow(TypeError)
  expect(rawPublicKey(tls)).toHaveLength(32)
})
