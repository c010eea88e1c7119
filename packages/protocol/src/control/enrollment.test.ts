import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseBase64Url, toBase64Url } from '../encoding/bytes.ts'
import {
  type EnrollmentGrant,
  type EnrollmentRequest,
  enrollmentProofBytes,
  keyThumbprint,
  parseEnrollmentGrant,
  parseEnrollmentRequest,
  parseRenewalRequest,
  renewalProofBytes,
} from './enrollment.ts'

const text = (length: number, fill = 1) => toBase64Url(new Uint8Array(length).fill(fill))

const request: EnrollmentRequest = {
  version: 1,
  token: 'csj_x_y',
  tlsKey: text(91),
  signingKey: text(32),
  sealingKey: text(32),
  tlsProof: text(64),
  signingProof: text(64),
  sealingProof: text(32),
}

const grant: EnrollmentGrant = {
  version: 1,
  spiffeId: 'spiffe://a.test/agent/alice',
  name: 'alice',
  signingKeyId: 'k1',
  sealingKeyId: 'k2',
  certificateChain: [text(600), text(500)],
  bundles: { 'a.test': { sequence: 1, roots: [text(500)] } },
  expiresAt: 1_800_000_000_000,
}

describe('the wire format', () => {
  test('reads back what JSON carries', () => {
    const carried = (value: unknown): unknown => JSON.parse(JSON.stringify(value))
    expect(parseEnrollmentRequest(carried(request))).toEqual(request)
    expect(parseEnrollmentGrant(carried(grant))).toEqual(grant)
    const renewal = { version: 1, tlsKey: text(91), tlsProof: text(64) }
    expect(parseRenewalRequest(carried(renewal))).toEqual(renewal)
  })

  test.each([
    ['another version', { version: 2 }],
    ['a missing key', { tlsKey: undefined }],
    ['a short signing key', { signingKey: text(31) }],
    ['a long sealing key', { sealingKey: text(33) }],
    ['padding', { signingProof: `${text(64)}=` }],
    ['an unknown member', { roles: ['admin'] }],
    ['an endless token', { token: 'x'.repeat(10_000) }],
    ['a token that is no text', { token: { toString: 'x' } }],
  ])('refuses a request with %s', (_, change) => {
    expect(() => parseEnrollmentRequest({ ...request, ...change })).toThrow(TypeError)
  })

  test.each([
    ['an empty chain', { certificateChain: [] }],
    ['an endless chain', { certificateChain: Array<string>(9).fill(text(1)) }],
    ['a name that is none', { name: '../admin' }],
    ['a time that is none', { expiresAt: 'soon' }],
    ['a bundle without roots', { bundles: { 'a.test': { sequence: 1 } } }],
    ['bundles in a list', { bundles: [] }],
  ])('refuses a grant with %s', (_, change) => {
    expect(() => parseEnrollmentGrant({ ...grant, ...change })).toThrow(TypeError)
  })

  test('throws nothing but a TypeError, whatever the value', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        for (const parse of [parseEnrollmentRequest, parseRenewalRequest, parseEnrollmentGrant]) {
          expect(() => parse(value)).toThrow(TypeError)
        }
      }),
    )
  })
})

describe('the bytes to prove', () => {
  const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
  const keys = fc.record({
    token: fc.string(),
    tlsKey: fc.uint8Array({ minLength: 1, maxLength: 200 }),
    signingKey: bytes32,
    sealingKey: bytes32,
  })

  test('differ when the token or any key differs', async () => {
    await fc.assert(
      fc.asyncProperty(keys, keys, async (one, two) => {
        const same = JSON.stringify(plain(one)) === JSON.stringify(plain(two))
        const [first, second] = [await enrollmentProofBytes(one), await enrollmentProofBytes(two)]
        expect(toBase64Url(first) === toBase64Url(second)).toBe(same)
      }),
    )
  })

  test('of an enrolment never serve for a renewal', async () => {
    const one = {
      token: 't',
      tlsKey: Uint8Array.of(1),
      signingKey: new Uint8Array(32),
      sealingKey: new Uint8Array(32),
    }
    const enroll = new TextDecoder().decode((await enrollmentProofBytes(one)).subarray(0, 22))
    const renew = new TextDecoder().decode(
      renewalProofBytes(new Uint8Array(32), one.tlsKey).subarray(0, 21),
    )
    expect([enroll, renew]).toEqual(['countersign-enroll-v1\n', 'countersign-renew-v1\n'])
  })
})

test('a key id is the JWK thumbprint of RFC 8037, appendix A.3', async () => {
  const publicKey = parseBase64Url('11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo')
  expect(await keyThumbprint('Ed25519', publicKey ?? new Uint8Array())).toBe(
    'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k',
  )
})

function plain(keys: Record<string, string | Uint8Array>) {
  return Object.entries(keys).map(([key, value]) => [
    key,
    typeof value === 'string' ? value : toBase64Url(value),
  ])
}
