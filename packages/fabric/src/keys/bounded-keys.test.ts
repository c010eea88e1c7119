import { expect, test } from 'vitest'
import { memorySecrets, testKeys } from '../../../../test/contracts/identity-lab.ts'
import { boundedKeys } from './bounded-keys.ts'
import { KeyFault, type KeyProvider } from './key-provider.ts'

const bytes = new Uint8Array(1)

/** A provider whose signatures do what `sign` does, as a slow or failing vault would. */
function provider(sign: KeyProvider['sign']): KeyProvider {
  return { ...testKeys(memorySecrets()), engine: 'the vault', sign }
}

test('a call to a provider that hangs ends by its bound, and others are refused at once', async () => {
  let release = (): void => undefined
  const hung = new Promise<never>((_, reject) => {
    release = () => reject(new Error('the connection was reset'))
  })
  const keys = boundedKeys(
    provider(() => hung),
    { callMs: 5, callsMax: 2 },
  )
  for (const _ of [1, 2]) {
    await expect(keys.sign('a', bytes)).rejects.toMatchObject({
      code: 'KEY_TIMEOUT',
      message: expect.stringContaining('the vault did not answer for the key a'),
    })
  }
  await expect(keys.sign('a', bytes)).rejects.toMatchObject({ code: 'KEY_UNAVAILABLE' })
  release()
  await expect(hung).rejects.toThrow('reset')
  await expect(keys.sign('a', bytes)).rejects.toMatchObject({
    code: 'KEY_UNAVAILABLE',
    message: expect.stringContaining('the connection was reset'),
  })
})

test('an engine that throws at once does not keep a place', async () => {
  const keys = boundedKeys(
    provider(() => {
      throw new TypeError('no credentials')
    }),
    { callMs: 1_000, callsMax: 1 },
  )
  for (const _ of [1, 2]) {
    await expect(keys.sign('a', bytes)).rejects.toThrow('no credentials')
  }
})

test('a fault of the engine keeps its code', async () => {
  const denied = new KeyFault('KEY_NOT_PERMITTED', 'the role may not sign')
  const keys = boundedKeys(provider(() => Promise.reject(denied)))
  await expect(keys.sign('a', bytes)).rejects.toBe(denied)
})
