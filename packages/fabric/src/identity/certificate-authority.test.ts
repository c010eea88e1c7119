import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { parseCertificate, TrustBundles } from '@countersign/protocol/tls'
import { describe, expect, test } from 'vitest'
import {
  memorySecrets,
  newAgentSecrets,
  publicTlsKey,
  testClock,
  testKeys,
} from '../../../../test/contracts/identity-lab.ts'
import { x509CertificateWriter } from '../../../../test/contracts/peculiar-certificate-writer.ts'
import { derCertificateWriter } from '../adapters/x509/der-certificate-writer.ts'
import { systemRandom } from '../lib/random.ts'
import { type AuthorityOptions, openAuthority } from './certificate-authority.ts'
import { openServerIdentity } from './server-identity.ts'

const dayMs = 86_400_000
const tlsPublicKey = publicTlsKey(newAgentSecrets().tls)
const alice = { spiffeId: 'spiffe://a.test/agent/alice', tlsPublicKey }

function options() {
  const rootSecrets = memorySecrets()
  return {
    trustDomain: 'a.test',
    secrets: memorySecrets(),
    ...{ rootSecrets, rootKeys: testKeys(rootSecrets) },
    writer: derCertificateWriter(),
    clock: testClock(),
    random: systemRandom,
  } satisfies AuthorityOptions & { readonly rootSecrets: unknown }
}

describe.each([
  ['our own writer', derCertificateWriter],
  ['@peculiar/x509', x509CertificateWriter],
])('the authority with %s', (_, createWriter) => {
  test('issues chains that OpenSSL accepts as well', async () => {
    const authority = await openAuthority({ ...options(), writer: createWriter() })
    const issued = await authority.issue({
      ...alice,
      dnsNames: ['localhost'],
      ipAddresses: ['127.0.0.1', '::1', 'fd00::1:0:5'],
    })
    const [leaf, middle] = issued.certificateChain.map((each) => new X509Certificate(each))
    const root = new X509Certificate(authority.rootPem)
    if (leaf === undefined || middle === undefined) throw new Error('a chain has two certificates')
    expect(leaf.checkIssued(middle) && leaf.verify(middle.publicKey)).toBe(true)
    expect(middle.checkIssued(root) && middle.verify(root.publicKey)).toBe(true)
    expect([leaf.ca, middle.ca, root.ca]).toEqual([false, true, true])
    expect(leaf.subjectAltName).toBe(
      'URI:spiffe://a.test/agent/alice, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, IP Address:FD00:0:0:0:0:1:0:5',
    )
    expect(leaf.checkHost('localhost')).toBe('localhost')
  })

  test('writes what the SPIFFE standard asks for', async () => {
    const authority = await openAuthority({ ...options(), writer: createWriter() })
    const { certificateChain } = await authority.issue(alice)
    const [leaf, middle] = certificateChain.map((each) => parseCertificate(each))
    expect(leaf).toMatchObject({
      isAuthority: false,
      keyUsage: { critical: true, digitalSignature: true, certificateSign: false, crlSign: false },
      extendedKeyUsage: ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'],
      alternativeNames: { uris: [alice.spiffeId] },
    })
    expect(middle).toMatchObject({
      isAuthority: true,
      pathLengthMax: 0,
      keyUsage: { critical: true, digitalSignature: false, certificateSign: true },
      alternativeNames: { uris: ['spiffe://a.test'] },
    })
  })
})

test('a store that one writer began is continued by the other', async () => {
  const given = options()
  await openAuthority(given)
  const authority = await openAuthority({
    ...given,
    writer: x509CertificateWriter(),
    rootKeys: null,
  })
  expect(await authority.issue(alice)).toMatchObject({ spiffeId: alice.spiffeId })
})

describe('the root', () => {
  test('has its key in a place of its own, and is not needed again for a year', async () => {
    const given = options()
    const first = await openAuthority(given)
    expect(given.rootSecrets.names()).toEqual(['keys/ca/root/1'])
    expect(given.secrets.names()).toEqual(['ca/intermediate', 'ca/root/certificate'])
    const second = await openAuthority({ ...given, rootKeys: null })
    expect(second.rootPem).toBe(first.rootPem)
    given.clock.advance(340 * dayMs)
    expect((await openAuthority({ ...given, rootKeys: null })).rootPem).toBe(first.rootPem)
    given.clock.advance(30 * dayMs)
    await expect(openAuthority({ ...given, rootKeys: null })).rejects.toThrow('offline')
    expect((await openAuthority(given)).rootPem).toBe(first.rootPem)
  })

  test('cannot be created offline, nor exchanged unseen', async () => {
    await expect(openAuthority({ ...options(), rootKeys: null })).rejects.toThrow('offline')
    const given = options()
    await openAuthority(given)
    const other = options()
    await openAuthority(other)
    const certificate = await other.secrets.find('ca/root/certificate')
    await given.secrets.put('ca/root/certificate', certificate ?? new Uint8Array())
    await expect(openAuthority(given)).rejects.toThrow('not issued by')
  })

  test('signs a new intermediate before the old one ends, while the authority runs', async () => {
    const given = options()
    const authority = await openAuthority(given)
    const before = (await authority.issue(alice)).certificateChain[1]
    given.clock.advance(336 * dayMs)
    const [one, two] = await Promise.all([authority.issue(alice), authority.issue(alice)])
    expect(one.certificateChain[1]).not.toEqual(before)
    expect(two.certificateChain[1]).toEqual(one.certificateChain[1])
  })
})

describe('a leaf', () => {
  test('lives an hour, or as long as asked, and never longer than its issuer', async () => {
    const given = options()
    const authority = await openAuthority(given)
    expect((await authority.issue(alice)).expiresAt).toBe(given.clock.now() + 3_600_000)
    expect((await authority.issue({ ...alice, lifetimeMs: 60_000 })).expiresAt).toBe(
      given.clock.now() + 60_000,
    )
    await expect(authority.issue({ ...alice, lifetimeMs: 2 * dayMs })).rejects.toThrow(RangeError)
    const offline = await openAuthority({ ...given, rootKeys: null })
    given.clock.advance(365 * dayMs - 60_000)
    expect((await offline.issue(alice)).expiresAt).toBe(given.clock.now() + 60_000)
    given.clock.advance(60_001)
    await expect(offline.issue(alice)).rejects.toThrow('offline')
  })

  test.each([
    ['of another domain', { spiffeId: 'spiffe://b.test/agent/alice' }],
    ['of a name that is none', { spiffeId: 'spiffe://a.test/agent/../x' }],
    [
      'for a key on another curve',
      {
        tlsPublicKey: new Uint8Array(
          generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey.export({
            type: 'spki',
            format: 'der',
          }),
        ),
      },
    ],
    ['for bytes that are no key', { tlsPublicKey: new Uint8Array(91) }],
    ['for a key with bytes behind it', { tlsPublicKey: Uint8Array.from([...tlsPublicKey, 0]) }],
    ['with an address that is none', { ipAddresses: ['999.1.1.1'] }],
  ])('%s is not issued', async (_, change) => {
    const authority = await openAuthority(options())
    await expect(authority.issue({ ...alice, ...change })).rejects.toThrow(TypeError)
  })

  test('is accepted by the bundle of no other authority', async () => {
    const issued = await (await openAuthority(options())).issue(alice)
    const stranger = await openAuthority(options())
    const now = testClock().now()
    expect(stranger.bundles.identify(issued.certificateChain, now)).toMatchObject({
      code: 'CHAIN_UNTRUSTED',
    })
    expect(new TrustBundles().identify(issued.certificateChain, now)).toMatchObject({
      code: 'TRUST_DOMAIN_UNKNOWN',
    })
  })
})

describe('the identity of the server', () => {
  test('changes key and certificate on rotation, and notifies its listeners', async () => {
    const given = options()
    const authority = await openAuthority(given)
    const server = await openServerIdentity({
      authority,
      clock: given.clock,
      name: 'gateway',
      names: ['gw.example', '10.0.0.1'],
    })
    const before = server.current()
    const heard: unknown[] = []
    const stop = server.onRotate((credential) => heard.push(credential))
    await server.rotate()
    stop()
    await server.rotate()
    server.close()
    expect(heard).toHaveLength(1)
    const [one, two] = [before, server.current()].map(({ certificateChain: [leaf] }) =>
      parseCertificate(leaf ?? new Uint8Array()),
    )
    expect(one?.publicKey).not.toEqual(two?.publicKey)
    expect(one?.alternativeNames?.uris).toEqual(['spiffe://a.test/fabric/gateway'])
    expect(one?.alternativeNames?.dnsNames).toEqual(['localhost', 'gw.example'])
    expect(one?.alternativeNames?.ipAddresses).toHaveLength(3)
  })

  test('rotates by itself at half of its lifetime', async () => {
    const given = options()
    const authority = await openAuthority(given)
    const server = await openServerIdentity({
      authority,
      clock: given.clock,
      name: 'gateway',
      names: [],
      lifetimeMs: 1_000,
    })
    const before = server.current()
    await new Promise<void>((resolve) => {
      server.onRotate(() => resolve())
    })
    server.close()
    expect(server.current().certificateChain[0]).not.toEqual(before.certificateChain[0])
  })
})
