import { createPublicKey, verify } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import {
  type KeyAlgorithm,
  KeyFault,
  type KeyFaultCode,
  type KeyProvider,
  type KeyVersion,
  newestVersion,
  plaintextBytesMax,
  signedBytesMax,
} from '../../packages/fabric/src/keys/key-provider.ts'

/** Opens one provider, each time as another process would, by a clock that all of them share. */
export interface SharedKeys {
  readonly open: () => Promise<KeyProvider>
  readonly advance: (ms: number) => void
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const hourMs = 3_600_000
const signing: readonly KeyAlgorithm[] = ['Ed25519', 'P-256']

/** Checks a signature by the public key alone, as a party without the provider does. */
function isSignedBy({ algorithm, publicKey }: KeyVersion, signature: Uint8Array, text: string) {
  const spki = createPublicKey({
    ...{ key: Buffer.from(publicKey ?? []), format: 'der', type: 'spki' },
  } as const)
  return algorithm === 'Ed25519'
    ? verify(null, bytes(text), spki, signature)
    : verify('sha256', bytes(text), { key: spki, dsaEncoding: 'ieee-p1363' }, signature)
}

async function codeOf(call: Promise<unknown>): Promise<KeyFaultCode | 'none'> {
  try {
    await call
    return 'none'
  } catch (error) {
    if (error instanceof KeyFault) return error.code
    throw error
  }
}

/** The contract of every key provider. `make` makes an empty one. */
export function keyProviderContract(engine: string, make: () => Promise<SharedKeys>): void {
  describe.each(signing)(`key provider on ${engine}, a key for %s`, (algorithm) => {
    test('is one key for processes that open it at once', async () => {
      const { open } = await make()
      const keys = await Promise.all([open(), open(), open()])
      const opened = await Promise.all(keys.map((each) => each.open('a/b', algorithm)))
      expect(opened[0]).toHaveLength(1)
      expect(new Set(opened.map((versions) => JSON.stringify(versions))).size).toBe(1)
    })

    test('signs so that its public key verifies', async () => {
      const { open } = await make()
      const keys = await open()
      const newest = newestVersion(await keys.open('a/b', algorithm))
      const { version, signature } = await keys.sign('a/b', bytes('one'))
      expect(version).toBe(newest.version)
      expect(signature).toHaveLength(64)
      expect(isSignedBy(newest, signature, 'one')).toBe(true)
      expect(isSignedBy(newest, signature, 'two')).toBe(false)
    })

    test('signs with the new version after a rotation, and the old one verifies for its overlap', async () => {
      const { open, advance } = await make()
      const [keys, other] = await Promise.all([open(), open()])
      const old = newestVersion(await keys.open('a/b', algorithm))
      const { signature } = await keys.sign('a/b', bytes('one'))
      const made = await keys.rotate('a/b', { from: old.version, overlapMs: hourMs })
      expect(made.version).toBe(old.version + 1)
      expect(made.publicKey).not.toEqual(old.publicKey)
      expect((await other.sign('a/b', bytes('two'))).version).toBe(made.version)
      const [newest, before] = await other.open('a/b', algorithm)
      expect(newest).toEqual(made)
      expect(before).toMatchObject({ version: old.version, publicKey: old.publicKey })
      expect(before !== undefined && isSignedBy(before, signature, 'one')).toBe(true)
      advance(hourMs + 1)
      expect(await other.open('a/b', algorithm)).toEqual([made])
    })

    test('fails no signature while it rotates', async () => {
      const { open } = await make()
      const [one, two, signer] = await Promise.all([open(), open(), open()])
      await signer.open('a/b', algorithm)
      const signed: { version: number; signature: Uint8Array }[] = []
      const sign = async (): Promise<void> => {
        for (let i = 0; i < 8; i++) signed.push(await signer.sign('a/b', bytes('one')))
      }
      const rotate = async (keys: KeyProvider): Promise<void> => {
        for (let from = 1; from <= 2; from++) {
          await keys.rotate('a/b', { from, overlapMs: hourMs })
        }
      }
      await Promise.all([sign(), sign(), rotate(one), rotate(two)])
      const versions = await two.open('a/b', algorithm)
      expect(versions.map(({ version }) => version)).toEqual([3, 2, 1])
      for (const { version, signature } of signed) {
        const by = versions.find((each) => each.version === version)
        expect(by !== undefined && isSignedBy(by, signature, 'one')).toBe(true)
      }
    })

    test('is rotated once by processes that rotate one version', async () => {
      const { open } = await make()
      const keys = await Promise.all([open(), open()])
      await keys[0]?.open('a/b', algorithm)
      const made = await Promise.all(
        keys.map((each) => each.rotate('a/b', { from: 1, overlapMs: hourMs })),
      )
      expect(made[0]).toEqual(made[1])
      expect(made[0]?.version).toBe(2)
      const again = await keys[0]?.rotate('a/b', { from: 1, overlapMs: 0 })
      expect(again).toEqual(made[0])
      expect(await keys[1]?.open('a/b', algorithm)).toHaveLength(2)
    })

    test('ends all of its earlier versions by a rotation without an overlap', async () => {
      const { open } = await make()
      const keys = await open()
      await keys.open('a/b', algorithm)
      await keys.rotate('a/b', { from: 1, overlapMs: hourMs })
      const made = await keys.rotate('a/b', { from: 2, overlapMs: 0 })
      expect(await keys.open('a/b', algorithm)).toEqual([made])
    })

    test('is not opened for another algorithm, and encrypts nothing', async () => {
      const { open } = await make()
      const keys = await open()
      await keys.open('a/b', algorithm)
      const other = signing.find((each) => each !== algorithm) ?? 'Ed25519'
      expect(await codeOf(keys.open('a/b', other))).toBe('KEY_REJECTED')
      expect(await codeOf(keys.encrypt('a/b', bytes('one'), ''))).toBe('KEY_REJECTED')
    })
  })

  describe(`key provider on ${engine}, a key that encrypts`, () => {
    const opened = async () => {
      const shared = await make()
      const [one, two] = await Promise.all([shared.open(), shared.open()])
      await one.open('wrap', 'AES-256-GCM')
      return { ...shared, one, two }
    }

    test('decrypts for another process, in the same context only', async () => {
      const { one, two } = await opened()
      const sealed = await one.encrypt('wrap', bytes('a data key'), 'ledger a')
      expect(Buffer.from(sealed).includes('a data key')).toBe(false)
      expect(await two.decrypt('wrap', sealed, 'ledger a')).toEqual(bytes('a data key'))
      expect(await codeOf(two.decrypt('wrap', sealed, 'ledger b'))).toBe('KEY_REJECTED')
    })

    test('rejects a ciphertext that was changed anywhere, cut, or made under another name', async () => {
      const { one } = await opened()
      const sealed = await one.encrypt('wrap', bytes('a data key'), '')
      for (const at of sealed.keys()) {
        const changed = sealed.slice()
        changed[at] = (changed[at] ?? 0) ^ 1
        expect(await codeOf(one.decrypt('wrap', changed, '')), `byte ${at}`).toBe('KEY_REJECTED')
        expect(await codeOf(one.decrypt('wrap', sealed.subarray(0, at), ''))).toBe('KEY_REJECTED')
      }
      await one.open('other', 'AES-256-GCM')
      expect(await codeOf(one.decrypt('other', sealed, ''))).toBe('KEY_REJECTED')
    })

    test('decrypts under the old version for its overlap, and then not any more', async () => {
      const { one, two, advance } = await opened()
      const sealed = await one.encrypt('wrap', bytes('a data key'), '')
      await two.rotate('wrap', { from: 1, overlapMs: hourMs })
      const newer = await one.encrypt('wrap', bytes('another'), '')
      expect(await one.decrypt('wrap', sealed, '')).toEqual(bytes('a data key'))
      advance(hourMs + 1)
      expect(await codeOf(one.decrypt('wrap', sealed, ''))).toBe('KEY_REJECTED')
      expect(await two.decrypt('wrap', newer, '')).toEqual(bytes('another'))
    })
  })

  describe(`key provider on ${engine}`, () => {
    test('makes no key by anything but opening it', async () => {
      const keys = await (await make()).open()
      const calls = [
        () => keys.sign('a/b', bytes('one')),
        () => keys.encrypt('a/b', bytes('one'), ''),
        () => keys.rotate('a/b', { from: 1, overlapMs: 0 }),
      ]
      for (const call of calls) expect(await codeOf(call())).toBe('KEY_UNKNOWN')
    })

    test('refuses more bytes than every engine takes', async () => {
      const keys = await (await make()).open()
      await keys.open('a/b', 'P-256')
      await keys.open('wrap', 'AES-256-GCM')
      await keys.sign('a/b', new Uint8Array(signedBytesMax))
      const sealed = await keys.encrypt('wrap', new Uint8Array(plaintextBytesMax), '')
      expect(await keys.decrypt('wrap', sealed, '')).toHaveLength(plaintextBytesMax)
      const calls = [
        () => keys.sign('a/b', new Uint8Array(signedBytesMax + 1)),
        () => keys.encrypt('wrap', new Uint8Array(plaintextBytesMax + 1), ''),
      ]
      for (const call of calls) expect(await codeOf(call())).toBe('KEY_REJECTED')
    })
  })
}
