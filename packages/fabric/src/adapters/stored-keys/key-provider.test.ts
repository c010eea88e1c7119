import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { memorySecrets, testClock } from '../../../../../test/contracts/identity-lab.ts'
import { keyProviderContract } from '../../../../../test/contracts/key-provider.ts'
import { systemRandom } from '../../lib/random.ts'
import { lockWhenFree } from '../file/file-lock.ts'
import { openFileSecretStore } from '../file/secret-store.ts'
import { storedKeys } from './key-provider.ts'

const random = systemRandom
const folder = mkdtempSync(join(tmpdir(), 'countersign-keys-'))
afterAll(() => rmSync(folder, { recursive: true }))
let folders = 0

keyProviderContract('the secret store, in files', async () => {
  const clock = testClock()
  const dir = join(folder, String(folders++))
  const masterKey = new Uint8Array(32).fill(0xa1)
  const lock = () => lockWhenFree(`${dir}.lock`)
  const open = async () => {
    const unlock = await lock()
    try {
      return await openFileSecretStore({ dir, masterKey, random, lock })
    } finally {
      unlock()
    }
  }
  return {
    open: async () => storedKeys({ secrets: await open(), clock, random }),
    advance: clock.advance,
  }
})

function stored() {
  const secrets = memorySecrets()
  const clock = testClock()
  return { secrets, clock, keys: storedKeys({ secrets, clock, random }) }
}

const privateOf = (value: Uint8Array | null): unknown =>
  (JSON.parse(Buffer.from(value ?? []).toString()) as { key: unknown }).key

test('the private half of a version that was rotated away is destroyed', async () => {
  const { secrets, keys } = stored()
  await keys.open('a', 'Ed25519')
  expect(privateOf(await secrets.find('keys/a/1'))).not.toBeNull()
  await keys.rotate('a', { from: 1, overlapMs: 1_000 })
  expect(privateOf(await secrets.find('keys/a/1'))).toBeNull()
  expect(privateOf(await secrets.find('keys/a/2'))).not.toBeNull()
})

test('a key that decrypts is destroyed by the first rotation after its overlap', async () => {
  const { secrets, clock, keys } = stored()
  await keys.open('a', 'AES-256-GCM')
  await keys.rotate('a', { from: 1, overlapMs: 1_000 })
  expect(privateOf(await secrets.find('keys/a/1'))).not.toBeNull()
  clock.advance(1_001)
  await keys.rotate('a', { from: 2, overlapMs: 1_000 })
  expect(privateOf(await secrets.find('keys/a/1'))).toBeNull()
  expect(privateOf(await secrets.find('keys/a/2'))).not.toBeNull()
})

test('a crash between the new version and the end of the old one leaves a key that signs', async () => {
  const { secrets, clock, keys } = stored()
  await keys.open('a', 'Ed25519')
  const halfway = { ...secrets, put: () => Promise.reject(new Error('the process ended')) }
  const crashed = storedKeys({ secrets: halfway, clock, random })
  await expect(crashed.rotate('a', { from: 1, overlapMs: 1_000 })).rejects.toThrow('ended')
  const after = storedKeys({ secrets, clock, random })
  expect((await after.sign('a', new Uint8Array(1))).version).toBe(2)
  await after.rotate('a', { from: 2, overlapMs: 1_000 })
  expect(privateOf(await secrets.find('keys/a/1'))).toBeNull()
})

test.each([
  ['is not a key', () => new TextEncoder().encode('{}'), 'cannot be read'],
  ['is another version', (other: Uint8Array) => other, 'stored as another version'],
])('a stored value that %s is used for nothing', async (_, change, says) => {
  const { secrets, keys } = stored()
  await keys.open('a', 'Ed25519')
  await keys.open('b', 'Ed25519')
  await keys.rotate('b', { from: 1, overlapMs: 0 })
  await secrets.put('keys/a/1', change((await secrets.find('keys/b/2')) ?? new Uint8Array()))
  await expect(keys.sign('a', new Uint8Array(1))).rejects.toThrow(says)
})
