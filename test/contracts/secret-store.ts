import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { derCertificateWriter } from '../../packages/fabric/src/adapters/x509/der-certificate-writer.ts'
import { openAuthority } from '../../packages/fabric/src/identity/certificate-authority.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { formatPrivateKey, openPrivateKey } from '../../packages/fabric/src/lib/stored-key.ts'
import type { SecretStore } from '../../packages/fabric/src/secrets/secret-store.ts'
import { testKeys } from './identity-lab.ts'

/** Opens one store, each time as another process would. */
export type OpenSecrets = (masterKey: Uint8Array) => Promise<SecretStore>

const keyA = new Uint8Array(32).fill(0xa1)
const keyB = new Uint8Array(32).fill(0xb2)
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

/** The contract of every secret store that several processes share. `make` makes an empty one. */
export function secretStoreContract(engine: string, make: () => Promise<OpenSecrets>): void {
  describe(`secret store on ${engine}`, () => {
    let open: OpenSecrets
    const openTwo = async (): Promise<readonly [SecretStore, SecretStore]> => {
      open = await make()
      return Promise.all([open(keyA), open(keyA)])
    }
    test('gives one process what another put, and null for what was never stored', async () => {
      const [one, two] = await openTwo()
      await one.put('ca/a', bytes('1'))
      expect(await two.find('ca/a')).toEqual(bytes('1'))
      await two.put('ca/a', bytes('2'))
      await two.put('ca/b', bytes('3'))
      expect(await one.find('ca/a')).toEqual(bytes('2'))
      expect(await one.list()).toEqual(['ca/a', 'ca/b'])
      expect(await one.find('ca/c')).toBeNull()
      const later = await open(keyA)
      expect(await later.find('ca/b')).toEqual(bytes('3'))
    })

    test('creates a value once, and resolves to it for each writer', async () => {
      const stores = await openTwo()
      const created = await Promise.all(
        Array.from({ length: 8 }, (_, i) =>
          (i % 2 === 0 ? stores[0] : stores[1]).create('ca/a', bytes(`by ${i}`)),
        ),
      )
      expect(new Set(created.map(String)).size).toBe(1)
      for (const store of stores) expect(await store.find('ca/a')).toEqual(created[0])
    })

    test('loses no value of writers that write at once', async () => {
      const stores = await openTwo()
      const names = Array.from({ length: 8 }, (_, i) => `ca/${i}`)
      await Promise.all(
        names.map((name, i) => (i % 2 === 0 ? stores[0] : stores[1]).put(name, bytes(name))),
      )
      const later = await open(keyA)
      expect(await later.list()).toEqual(names)
      for (const name of names) expect(await later.find(name)).toEqual(bytes(name))
    })

    test('is opened by its master key only, and changes nothing for another', async () => {
      const [one] = await openTwo()
      await one.put('ca/a', bytes('1'))
      await expect(open(keyB)).rejects.toThrow('master key does not open')
      expect(await (await open(keyA)).find('ca/a')).toEqual(bytes('1'))
    })

    test('goes over to a new master key, and the old one opens nothing any more', async () => {
      const [one, two] = await openTwo()
      await one.put('ca/a', bytes('1'))
      await one.rotate(keyB)
      expect(await one.find('ca/a')).toEqual(bytes('1'))
      await expect(open(keyA)).rejects.toThrow('master key does not open')
      await expect(two.put('ca/a', bytes('2'))).rejects.toThrow('master key does not open')
      expect(await (await open(keyB)).find('ca/a')).toEqual(bytes('1'))
    })

    test('makes one authority and one key for fabrics that start together', async () => {
      const stores = await openTwo()
      const authorities = await Promise.all(
        stores.map((secrets) =>
          openAuthority({
            ...{ trustDomain: 'together.example', secrets, rootKeys: testKeys(secrets) },
            ...{ writer: derCertificateWriter(), clock: systemClock, random: systemRandom },
          }),
        ),
      )
      expect(authorities[0]?.rootPem).toBe(authorities[1]?.rootPem)
      const request = {
        spiffeId: 'spiffe://together.example/agent/a',
        tlsPublicKey: tlsKey(),
      }
      const chains = await Promise.all(authorities.map((authority) => authority.issue(request)))
      const [first, second] = chains.map(({ certificateChain }) => certificateChain[1])
      expect(first).toEqual(second)
      const keys = await Promise.all(
        stores.map((secrets) => openPrivateKey(secrets, 'gateway/fabric', 'Ed25519')),
      )
      expect(new Set(keys.map((key) => String(formatPrivateKey(key)))).size).toBe(1)
    })
  })
}

function tlsKey(): Uint8Array {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }))
}
