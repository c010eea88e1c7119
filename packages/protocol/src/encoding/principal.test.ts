import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  isIssuerUrl,
  isPrincipalKey,
  PRINCIPAL_KEY_LENGTH_MAX,
  type Principal,
  parsePrincipal,
  principalKey,
} from './principal.ts'

const issuer = 'https://login.example.com/tenant'

describe('the canonical form', () => {
  test('is the SPIFFE ID for a principal of a fabric', () => {
    const bob: Principal = { kind: 'agent', issuer: 'a.test', subject: 'bob' }
    expect(principalKey(bob)).toBe('spiffe://a.test/agent/bob')
    expect(principalKey({ ...bob, kind: 'user' })).toBe('spiffe://a.test/user/bob')
    expect(parsePrincipal('spiffe://a.test/agent/bob')).toEqual(bob)
  })

  test('names issuer, kind and subject for a principal of an OpenID Connect issuer', () => {
    const alice: Principal = { kind: 'user', issuer, subject: 'alice@example.com' }
    expect(principalKey(alice)).toBe(`${issuer}#user/alice@example.com`)
    expect(principalKey({ ...alice, subject: 'auth0|a b/#%' })).toBe(
      `${issuer}#user/auth0%7Ca%20b%2F%23%25`,
    )
    expect(parsePrincipal(`${issuer}#user/auth0%7Ca%20b%2F%23%25`)?.subject).toBe('auth0|a b/#%')
  })

  test('keeps a subject that looks like a principal of the fabric apart from it', () => {
    const subject = 'spiffe://a.test/agent/bob'
    const key = principalKey({ kind: 'agent', issuer, subject })
    expect(key).toBe(`${issuer}#agent/spiffe:%2F%2Fa.test%2Fagent%2Fbob`)
    expect(parsePrincipal(key)).toEqual({ kind: 'agent', issuer, subject })
  })

  const name = fc.stringMatching(/^[a-z0-9](?:[a-z0-9._-]{0,8}[a-z0-9])?$/)
  const ascii = fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme-ascii' })
  const principal: fc.Arbitrary<Principal> = fc.oneof(
    fc.record({ kind: fc.constantFrom('agent', 'user', 'fabric'), issuer: name, subject: name }),
    fc.record({
      kind: fc.constantFrom('agent', 'user'),
      issuer: fc
        .tuple(name, fc.constantFrom('', '/', ':8443', '/a', '/agent/', '/user/bob'))
        .map(([host, rest]) => `https://${host.replaceAll('_', '-')}${rest}`),
      subject: fc.oneof(
        ascii,
        name,
        name.map((each) => `spiffe://a.test/agent/${each}`),
        fc.constantFrom('#user/bob', '%23', '%', '/', ' '),
      ),
    }),
  )

  test('is read back as it was written', () => {
    fc.assert(
      fc.property(principal, (given) => {
        expect(parsePrincipal(principalKey(given))).toEqual(given)
      }),
    )
  })

  test('is the same for two principals only if they are one', () => {
    fc.assert(
      fc.property(principal, principal, (one, other) => {
        const isOne =
          one.kind === other.kind && one.issuer === other.issuer && one.subject === other.subject
        expect(principalKey(one) === principalKey(other)).toBe(isOne)
      }),
    )
  })

  test('has one spelling: no text that differs from it is read', () => {
    fc.assert(
      fc.property(principal, fc.nat(60), ascii, (given, at, inserted) => {
        const key = principalKey(given)
        const changed = key.slice(0, at) + inserted + key.slice(at)
        const parsed = parsePrincipal(changed)
        if (parsed !== null) expect(principalKey(parsed)).toBe(changed)
      }),
    )
  })
})

describe('what is not a principal', () => {
  test.each([
    ['spiffe://a.test/agent/bob/1', 'an instance of one'],
    ['bob', 'a bare name'],
    ['agent/bob', 'a name with a kind'],
    [`${issuer}#fabric/bob`, 'a fabric of an issuer without certificates'],
    [`${issuer}#user/`, 'no subject'],
    [`${issuer}#bob`, 'no kind'],
    [`${issuer}?a#user/bob`, 'an issuer with a query'],
    ['http://login.example.com#user/bob', 'an issuer without TLS'],
    ['https://LOGIN.example.com#user/bob', 'a second spelling of a host'],
    ['https://me@login.example.com#user/bob', 'an issuer with credentials'],
    [`${issuer}#user/a%20b%2f`, 'an escape in lower case'],
    [`${issuer}#user/%62ob`, 'an escape that is not needed'],
    [`${issuer}#user/%0A`, 'a control character'],
    [`${issuer}#user/b%C3%B6b`, 'a character outside ASCII'],
    [`${issuer}#user/${'x'.repeat(PRINCIPAL_KEY_LENGTH_MAX)}`, 'a text that is too long'],
  ])('%s is refused: %s', (text) => {
    expect(parsePrincipal(text)).toBeNull()
    expect(isPrincipalKey(text)).toBe(false)
  })

  test('has no canonical form either', () => {
    const good: Principal = { kind: 'user', issuer, subject: 'bob' }
    const bad: readonly Partial<Principal>[] = [
      { kind: 'fabric' },
      { issuer: `${issuer}#user` },
      { issuer: 'a.test', subject: 'Bob' },
      { subject: '' },
      { subject: 'b\nob' },
      { subject: 'x'.repeat(256) },
      { subject: '/'.repeat(200) },
    ]
    for (const change of bad) {
      expect(() => principalKey({ ...good, ...change }), JSON.stringify(change)).toThrow(TypeError)
    }
    expect(isIssuerUrl(`https://${'a'.repeat(300)}`)).toBe(false)
  })
})
