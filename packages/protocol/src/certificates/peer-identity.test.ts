import { describe, expect, test } from 'vitest'
import {
  clientAuth,
  dayMs,
  extension,
  type Forgery,
  forge,
  forgeDomain,
  forgedAt,
  type KeyKind,
  serverAuth,
} from '../../../../test/hostile/tls-forge.ts'
import {
  clockSkewMs,
  PeerFault,
  type PeerFaultCode,
  type PeerIdentity,
  parseSpiffeUri,
  TrustBundles,
} from './peer-identity.ts'

const { root, intermediate } = forgeDomain()

function bundlesOf(roots: readonly Uint8Array[] = [root.certificate]): TrustBundles {
  const bundles = new TrustBundles()
  bundles.set('a.test', { sequence: 1, roots })
  return bundles
}

function identify(forgery: Forgery, now = forgedAt): PeerIdentity | PeerFault {
  return bundlesOf().identify(forge({ issuer: intermediate, ...forgery }).certificateChain, now)
}

function codeOf(peer: PeerIdentity | PeerFault): PeerFaultCode | 'good' {
  return peer instanceof PeerFault ? peer.code : 'good'
}

describe('the identity of a peer', () => {
  test('is the SPIFFE ID of a leaf with a path to a root of its own domain', () => {
    const leaf = forge({ issuer: intermediate })
    const peer = bundlesOf().identify(leaf.certificateChain, forgedAt)
    expect(peer).toMatchObject({
      spiffeId: 'spiffe://a.test/agent/alice',
      trustDomain: 'a.test',
      expiresAt: leaf.notAfter + clockSkewMs,
    })
  })

  const rules: readonly (readonly [string, Forgery, PeerFaultCode])[] = [
    [
      'two URI names',
      { uris: ['spiffe://a.test/agent/alice', 'spiffe://a.test/agent/bob'] },
      'IDENTITY_AMBIGUOUS',
    ],
    [
      'a second URI name that is not a SPIFFE ID',
      { uris: ['spiffe://a.test/agent/alice', 'https://a.test'] },
      'IDENTITY_AMBIGUOUS',
    ],
    ['no URI name', { uris: [] }, 'IDENTITY_MISSING'],
    ['no names at all', { uris: [], dnsNames: [] }, 'IDENTITY_MISSING'],
    ['a trust domain without a path', { uris: ['spiffe://a.test'] }, 'IDENTITY_MISSING'],
    ['a trailing slash', { uris: ['spiffe://a.test/agent/'] }, 'IDENTITY_MISSING'],
    ['a dot segment', { uris: ['spiffe://a.test/agent/../admin'] }, 'IDENTITY_MISSING'],
    ['an upper-case domain', { uris: ['spiffe://A.test/agent/alice'] }, 'IDENTITY_MISSING'],
    ['a port', { uris: ['spiffe://a.test:443/agent/alice'] }, 'IDENTITY_MISSING'],
    ['a query', { uris: ['spiffe://a.test/agent/alice?x'] }, 'IDENTITY_MISSING'],
    ['a percent escape', { uris: ['spiffe://a.test/agent/%61lice'] }, 'IDENTITY_MISSING'],
    [
      'an authority as leaf',
      { isAuthority: true, uris: ['spiffe://a.test/agent/alice'] },
      'CERTIFICATE_UNSUITABLE',
    ],
    ['no key usage', { keyUsage: null }, 'CERTIFICATE_UNSUITABLE'],
    ['key usage that is not critical', { keyUsageCritical: false }, 'CERTIFICATE_UNSUITABLE'],
    ['key usage without digitalSignature', { keyUsage: 0x20 }, 'CERTIFICATE_UNSUITABLE'],
    ['a leaf that may sign certificates', { keyUsage: 0x84 }, 'CERTIFICATE_UNSUITABLE'],
    ['a leaf that may sign revocations', { keyUsage: 0x82 }, 'CERTIFICATE_UNSUITABLE'],
    ['a purpose for servers only', { purposes: [serverAuth] }, 'CERTIFICATE_UNSUITABLE'],
    ['a purpose for clients only', { purposes: [clientAuth] }, 'CERTIFICATE_UNSUITABLE'],
    [
      'an empty subject with names that are not critical',
      { subject: null },
      'CERTIFICATE_UNSUITABLE',
    ],
    [
      'an unknown critical extension',
      { extraExtensions: [extension('1.2.3.4', true, Uint8Array.of(5, 0))] },
      'CERTIFICATE_UNSUITABLE',
    ],
    ['an RSA key of 1024 bits', { keyKind: 'rsa-1024' }, 'CERTIFICATE_UNSUITABLE'],
    ['a key on P-521', { keyKind: 'P-521' }, 'CERTIFICATE_UNSUITABLE'],
    ['another trust domain', { uris: ['spiffe://b.test/agent/alice'] }, 'TRUST_DOMAIN_UNKNOWN'],
    ['an end in the past', { notAfter: forgedAt - clockSkewMs - 1000 }, 'CERTIFICATE_EXPIRED'],
    [
      'a beginning in the future',
      { notBefore: forgedAt + clockSkewMs + 1000 },
      'CERTIFICATE_NOT_YET_VALID',
    ],
  ]
  test.each(rules)('is refused for %s', (_, forgery, code) => {
    expect(codeOf(identify(forgery))).toBe(code)
  })

  const accepted: readonly (readonly [string, Forgery])[] = [
    ['no extended key usage', { purposes: null }],
    ['an empty subject with critical names', { subject: null, namesCritical: true }],
    [
      'an unknown extension that is not critical',
      { extraExtensions: [extension('1.2.3.4', false, Uint8Array.of(5, 0))] },
    ],
    ['an end within the clock skew', { notAfter: forgedAt - clockSkewMs }],
    ['a beginning within the clock skew', { notBefore: forgedAt + clockSkewMs }],
  ]
  test.each(accepted)('is accepted with %s', (_, forgery) => {
    expect(codeOf(identify(forgery))).toBe('good')
  })

  test.each<KeyKind>(['P-256', 'P-384', 'ed25519', 'rsa-2048'])(
    'may hang on %s keys',
    (keyKind) => {
      const authority = forge({ isAuthority: true, keyKind })
      const leaf = forge({ issuer: authority, keyKind })
      expect(
        codeOf(bundlesOf([authority.certificate]).identify(leaf.certificateChain, forgedAt)),
      ).toBe('good')
    },
  )

  test('is refused when an authority that signs itself is not ours', () => {
    const other = forge({ isAuthority: true })
    const leaf = forge({ issuer: other })
    expect(codeOf(bundlesOf().identify([leaf.certificate, other.certificate], forgedAt))).toBe(
      'CHAIN_UNTRUSTED',
    )
  })

  test('is refused when an authority only borrowed the name of ours', () => {
    const impostor = forge({ isAuthority: true, subject: 'same' })
    const honest = forge({ isAuthority: true, subject: 'same' })
    const leaf = forge({ issuer: impostor })
    const bundles = bundlesOf([honest.certificate])
    expect(codeOf(bundles.identify([leaf.certificate, impostor.certificate], forgedAt))).toBe(
      'CHAIN_UNTRUSTED',
    )
  })

  test('is refused when a leaf issued it', () => {
    const middle = forge({ issuer: intermediate })
    const leaf = forge({ issuer: middle })
    expect(codeOf(bundlesOf().identify(leaf.certificateChain, forgedAt))).toBe('CHAIN_UNTRUSTED')
  })

  const badAuthorities: readonly (readonly [string, Forgery])[] = [
    ['may not sign certificates', { keyUsage: 0x80 }],
    ['has no key usage', { keyUsage: null }],
    ['has expired', { notAfter: forgedAt - dayMs / 2 }],
    ['is not valid yet', { notBefore: forgedAt + dayMs / 2 }],
    ['carries the identity of a workload', { uris: ['spiffe://a.test/agent/alice'] }],
    [
      'has an unknown critical extension',
      { extraExtensions: [extension('1.2.3.4', true, Uint8Array.of(5, 0))] },
    ],
    ['has a weak key', { keyKind: 'rsa-1024' }],
  ]
  test.each(badAuthorities)('is refused below an authority that %s', (_, forgery) => {
    const authority = forge({ isAuthority: true, issuer: root, ...forgery })
    const leaf = forge({ issuer: authority })
    expect(codeOf(bundlesOf().identify(leaf.certificateChain, forgedAt))).toBe('CHAIN_UNTRUSTED')
  })

  test('is refused below more authorities than the path length allows', () => {
    const second = forge({ isAuthority: true, issuer: intermediate })
    const leaf = forge({ issuer: second })
    expect(leaf.certificateChain).toHaveLength(3)
    expect(codeOf(bundlesOf().identify(leaf.certificateChain, forgedAt))).toBe('CHAIN_UNTRUSTED')
  })

  test('does not depend on the order of the authorities, but on the leaf coming first', () => {
    const first = forge({ isAuthority: true, issuer: root })
    const second = forge({ isAuthority: true, issuer: first })
    const leaf = forge({ issuer: second })
    const shuffled = [leaf.certificate, first.certificate, second.certificate]
    expect(codeOf(bundlesOf().identify(shuffled, forgedAt))).toBe('good')
    const reversed = [first.certificate, second.certificate, leaf.certificate]
    expect(codeOf(bundlesOf().identify(reversed, forgedAt))).not.toBe('good')
  })

  test('ends with the narrowest certificate of its path', () => {
    const short = forge({ isAuthority: true, issuer: root, notAfter: forgedAt + 60_000 })
    const leaf = forge({ issuer: short })
    expect(bundlesOf().identify(leaf.certificateChain, forgedAt)).toMatchObject({
      expiresAt: forgedAt + 60_000 + clockSkewMs,
    })
  })

  test('is refused for a chain that is too long, or empty', () => {
    const leaf = forge({ issuer: intermediate })
    const padded = [leaf.certificate, ...Array<Uint8Array>(8).fill(intermediate.certificate)]
    expect(codeOf(bundlesOf().identify(padded, forgedAt))).toBe('CERTIFICATE_MALFORMED')
    expect(codeOf(bundlesOf().identify([], forgedAt))).toBe('CERTIFICATE_MISSING')
  })

  test('is looked up again when the bundle changes, and compared with the time on every use', () => {
    const bundles = bundlesOf()
    const leaf = forge({ issuer: intermediate })
    expect(codeOf(bundles.identify(leaf.certificateChain, forgedAt))).toBe('good')
    expect(codeOf(bundles.identify(leaf.certificateChain, leaf.notAfter + clockSkewMs + 1))).toBe(
      'CERTIFICATE_EXPIRED',
    )
    expect(codeOf(bundles.identify(leaf.certificateChain, forgedAt))).toBe('good')
    bundles.set('a.test', { sequence: 2, roots: [] })
    expect(codeOf(bundles.identify(leaf.certificateChain, forgedAt))).toBe('CHAIN_UNTRUSTED')
  })
})

describe('a chain that was identified', () => {
  test('is neither hashed nor verified again', () => {
    const bundles = bundlesOf()
    const chain = readOnce(forge({ issuer: intermediate }))
    const first = bundles.identify(chain, forgedAt)
    expect(codeOf(first)).toBe('good')
    expect(bundles.identify(chain, forgedAt + 1000)).toBe(first)
  })

  test('neither when its leaf was known before', () => {
    const bundles = bundlesOf()
    const leaf = forge({ issuer: intermediate })
    const first = bundles.identify(leaf.certificateChain, forgedAt)
    const chain = readOnce(leaf)
    expect(bundles.identify(chain, forgedAt)).toBe(first)
    expect(bundles.identify(chain, forgedAt)).toBe(first)
  })

  test('expires, and is not valid before its time', () => {
    const { certificateChain, notAfter } = forge({ issuer: intermediate })
    const bundles = bundlesOf()
    expect(codeOf(bundles.identify(certificateChain, forgedAt))).toBe('good')
    const [early, late] = [forgedAt - 2 * dayMs, notAfter + clockSkewMs + 1]
    expect(codeOf(bundles.identify(certificateChain, early))).toBe('CERTIFICATE_NOT_YET_VALID')
    expect(codeOf(bundles.identify(certificateChain, forgedAt))).toBe('good')
    expect(codeOf(bundles.identify(certificateChain, late))).toBe('CERTIFICATE_EXPIRED')
  })

  test('is looked at again when its bundle changes or goes', () => {
    const other = forge({ isAuthority: true })
    const { certificateChain } = forge({ issuer: intermediate })
    const bundles = bundlesOf()
    expect(codeOf(bundles.identify(certificateChain, forgedAt))).toBe('good')
    bundles.remove('a.test')
    expect(codeOf(bundles.identify(certificateChain, forgedAt))).toBe('TRUST_DOMAIN_UNKNOWN')
    bundles.set('a.test', { sequence: 1, roots: [other.certificate] })
    expect(codeOf(bundles.identify(certificateChain, forgedAt))).toBe('CHAIN_UNTRUSTED')
    bundles.set('a.test', { sequence: 2, roots: [root.certificate] })
    expect(codeOf(bundles.identify(certificateChain, forgedAt))).toBe('good')
  })
})

/** Its bytes can be read once, so that a second verification would come to another verdict. */
function readOnce({ certificateChain }: ReturnType<typeof forge>): readonly Uint8Array[] {
  const chain = [...certificateChain]
  const [leaf = new Uint8Array()] = chain
  let reads = 0
  return new Proxy(chain, {
    get: (target, name) =>
      name === Symbol.iterator
        ? () => [reads++ === 0 ? leaf : new Uint8Array(1), ...target.slice(1)].values()
        : (Reflect.get(target, name) as unknown),
  })
}

describe('a chain that was rejected', () => {
  test('is not verified again, neither its signatures nor its form', () => {
    const stranger = forge({ issuer: forge({ isAuthority: true }) })
    const chain = readOnce(stranger)
    const bundles = bundlesOf()
    const first = bundles.identify(chain, forgedAt)
    expect(codeOf(first)).toBe('CHAIN_UNTRUSTED')
    expect(bundles.identify(chain, forgedAt + 1000)).toBe(first)
  })

  test('is accepted once it is valid, and rejected again before that', () => {
    const later = forgedAt + clockSkewMs + 5000
    const { certificateChain } = forge({ issuer: intermediate, notBefore: later })
    const bundles = bundlesOf()
    const begins = later - clockSkewMs
    expect(codeOf(bundles.identify(certificateChain, forgedAt))).toBe('CERTIFICATE_NOT_YET_VALID')
    expect(codeOf(bundles.identify(certificateChain, begins - 1))).toBe('CERTIFICATE_NOT_YET_VALID')
    expect(codeOf(bundles.identify(certificateChain, begins))).toBe('good')
    expect(codeOf(bundles.identify(certificateChain, begins - 1))).toBe('CERTIFICATE_NOT_YET_VALID')
  })

  test('is accepted once its authority is valid', () => {
    const begins = forgedAt + dayMs / 2
    const authority = forge({ isAuthority: true, issuer: root, notBefore: begins })
    const { certificateChain } = forge({ issuer: authority })
    const bundles = bundlesOf()
    expect(codeOf(bundles.identify(certificateChain, forgedAt))).toBe('CHAIN_UNTRUSTED')
    expect(codeOf(bundles.identify(certificateChain, begins))).toBe('good')
  })

  test('is looked at again when a bundle changes or goes', () => {
    const other = forge({ isAuthority: true })
    const { certificateChain } = forge({ issuer: other })
    const bundles = bundlesOf()
    expect(codeOf(bundles.identify(certificateChain, forgedAt))).toBe('CHAIN_UNTRUSTED')
    bundles.set('a.test', { sequence: 2, roots: [root.certificate, other.certificate] })
    expect(codeOf(bundles.identify(certificateChain, forgedAt))).toBe('good')
    bundles.remove('a.test')
    expect(codeOf(bundles.identify(certificateChain, forgedAt))).toBe('TRUST_DOMAIN_UNKNOWN')
    bundles.set('a.test', { sequence: 1, roots: [other.certificate] })
    expect(codeOf(bundles.identify(certificateChain, forgedAt))).toBe('good')
  })
})

describe('trust bundles', () => {
  test('take no older bundle, and no other one of the same sequence', () => {
    const bundles = bundlesOf()
    bundles.set('a.test', { sequence: 3, roots: [] })
    expect(() => bundles.set('a.test', { sequence: 2, roots: [root.certificate] })).toThrow(
      RangeError,
    )
    expect(() => bundles.set('a.test', { sequence: 3, roots: [root.certificate] })).toThrow(
      RangeError,
    )
    expect(() => bundles.set('a.test', { sequence: 3, roots: [] })).not.toThrow()
  })

  test('take authorities only', () => {
    expect(() => bundlesOf([forge().certificate])).toThrow(TypeError)
    expect(() => bundlesOf([forge({ isAuthority: true, keyUsage: 0x80 }).certificate])).toThrow(
      TypeError,
    )
  })
})

test('a SPIFFE URI has a lower-case domain and clean segments', () => {
  expect(parseSpiffeUri('spiffe://a.test/x/Y-1._z')).toEqual({
    trustDomain: 'a.test',
    path: '/x/Y-1._z',
  })
  expect(parseSpiffeUri('spiffe://a.test')).toEqual({ trustDomain: 'a.test', path: '' })
  for (const bad of [
    'spiffe:///x',
    'spiffe://a.test//x',
    'spiffe://a.test/./x',
    'SPIFFE://a.test/x',
    'spiffe://u@a.test/x',
    `spiffe://a.test/${'x'.repeat(2048)}`,
  ]) {
    expect(parseSpiffeUri(bad)).toBeNull()
  }
})
