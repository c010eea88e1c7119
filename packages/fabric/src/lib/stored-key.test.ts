import { describe, expect, test } from 'vitest'
import {
  formatPrivateKey,
  type KeyKind,
  type KeyStore,
  openPrivateKey,
  openSymmetricKey,
  parsePrivateKey,
} from './stored-key.ts'

function openStore() {
  const values = new Map<string, Uint8Array>()
  const store: KeyStore = {
    find: (name) => Promise.resolve(values.get(name) ?? null),
    put: (name, value) => {
      values.set(name, value)
      return Promise.resolve()
    },
    create: (name, value) => {
      if (!values.has(name)) values.set(name, value)
      return Promise.resolve(values.get(name) ?? value)
    },
  }
  return { store, values }
}

const failing: KeyStore = {
  find: () => Promise.resolve(null),
  put: () => Promise.reject(new Error('disk full')),
  create: () => Promise.reject(new Error('disk full')),
}

const damaged: KeyStore = {
  find: () => Promise.reject(new Error('does not authenticate')),
  put: () => Promise.reject(new Error('a damaged key was replaced')),
  create: () => Promise.reject(new Error('a damaged key was replaced')),
}

const random = (count: number) => new Uint8Array(count).fill(7)

describe.each([
  ['Ed25519', 'ed25519'],
  ['P-256', 'ec'],
  ['X25519', 'x25519'],
] satisfies [KeyKind, string][])('a private key on %s', (kind, type) => {
  test('is made once, stored before it is returned, and the same afterwards', async () => {
    const { store, values } = openStore()
    const made = await openPrivateKey(store, 'a/key', kind)
    expect(made.asymmetricKeyType).toBe(type)
    expect([...values.keys()]).toEqual(['a/key'])
    const again = await openPrivateKey(store, 'a/key', kind)
    expect(formatPrivateKey(again)).toEqual(formatPrivateKey(made))
    const other = await openPrivateKey(store, 'another/key', kind)
    expect(formatPrivateKey(other)).not.toEqual(formatPrivateKey(made))
  })

  test('is written as PKCS #8 and read back', async () => {
    const key = await openPrivateKey(openStore().store, 'a/key', kind)
    expect(parsePrivateKey(formatPrivateKey(key)).equals(key)).toBe(true)
  })

  test('is neither returned when it cannot be stored, nor replaced when it cannot be read', async () => {
    await expect(openPrivateKey(failing, 'a/key', kind)).rejects.toThrow('disk full')
    await expect(openPrivateKey(damaged, 'a/key', kind)).rejects.toThrow('does not authenticate')
  })
})

describe('a symmetric key', () => {
  test('has 32 random bytes, and is made once', async () => {
    const { store, values } = openStore()
    expect(await openSymmetricKey(store, 'a/key', random)).toEqual(random(32))
    expect(values.get('a/key')).toEqual(random(32))
    const never = () => new Uint8Array(0)
    expect(await openSymmetricKey(store, 'a/key', never)).toEqual(random(32))
  })

  test('is neither returned when it cannot be stored, nor replaced when it cannot be read', async () => {
    await expect(openSymmetricKey(failing, 'a/key', random)).rejects.toThrow('disk full')
    await expect(openSymmetricKey(damaged, 'a/key', random)).rejects.toThrow('authenticate')
  })
})

test('bytes that are not a key are rejected', () => {
  expect(() => parsePrivateKey(new Uint8Array(32))).toThrow()
})
