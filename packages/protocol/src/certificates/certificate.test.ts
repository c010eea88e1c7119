import { X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  dayMs,
  extension,
  flipBit,
  forge,
  forgeDomain,
  forgedAt,
  type KeyKind,
} from '../../../../test/hostile/tls-forge.ts'
import { parseCertificate } from './certificate.ts'
import { DerError } from './der.ts'
import { PeerFault, TrustBundles } from './peer-identity.ts'

describe('the certificate reader', () => {
  test('reads what OpenSSL reads', () => {
    const second = fc.integer({ min: 1, max: 1_000_000 }).map((value) => value * 1000)
    fc.assert(
      fc.property(
        fc.record({
          uris: fc.array(fc.constantFrom('spiffe://a.test/x', 'https://b.test/y'), {
            maxLength: 3,
          }),
          dnsNames: fc.array(fc.constantFrom('localhost', 'a.example'), { maxLength: 3 }),
          isAuthority: fc.boolean(),
          keyKind: fc.constantFrom<KeyKind>('P-256', 'ed25519'),
          notBefore: second.map((value) => forgedAt - value),
          notAfter: second.map((value) => forgedAt + value),
        }),
        (forgery) => {
          const { certificate } = forge(forgery)
          const theirs = new X509Certificate(certificate)
          const ours = parseCertificate(certificate)
          const names = [
            ...(ours.alternativeNames?.uris ?? []).map((uri) => `URI:${uri}`),
            ...(ours.alternativeNames?.dnsNames ?? []).map((name) => `DNS:${name}`),
          ]
          expect(ours.isAuthority).toBe(theirs.ca)
          expect(names.join(', ')).toBe(theirs.subjectAltName ?? '')
          expect(ours.notBefore).toBe(theirs.validFromDate.getTime())
          expect(ours.notAfter).toBe(theirs.validToDate.getTime())
          expect(ours.serialNumber.toUpperCase()).toBe(theirs.serialNumber)
          expect(Buffer.from(ours.publicKey)).toEqual(
            theirs.publicKey.export({ type: 'spki', format: 'der' }),
          )
        },
      ),
      {
        numRuns: 60,
        examples: [
          [
            {
              uris: ['spiffe://a.test/x'],
              dnsNames: [],
              isAuthority: true,
              keyKind: 'P-256',
              notBefore: forgedAt,
              notAfter: forgedAt,
            },
          ],
        ],
      },
    )
  })

  test('throws nothing but a DerError, whatever the bytes', () => {
    const { certificate } = forge()
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc.nat(certificate.length * 8 - 1).map((bit) => flipBit(certificate, bit)),
          fc.nat(certificate.length).map((length) => certificate.subarray(0, length)),
        ),
        (bytes) => {
          try {
            parseCertificate(bytes)
          } catch (error) {
            expect(error).toBeInstanceOf(DerError)
          }
        },
      ),
      { numRuns: 1_000 },
    )
  })

  test('one changed bit anywhere in a chain never leaves an identity', () => {
    const { root, intermediate } = forgeDomain()
    const leaf = forge({ issuer: intermediate })
    const bits = leaf.certificate.length * 8
    fc.assert(
      fc.property(fc.nat(bits - 1), fc.nat(intermediate.certificate.length * 8 - 1), (one, two) => {
        const bundles = new TrustBundles()
        bundles.set('a.test', { sequence: 1, roots: [root.certificate] })
        const chain = [leaf.certificate, intermediate.certificate]
        expect(bundles.identify(chain, forgedAt)).not.toBeInstanceOf(PeerFault)
        expect(
          bundles.identify([flipBit(leaf.certificate, one), intermediate.certificate], forgedAt),
        ).toBeInstanceOf(PeerFault)
        const fresh = new TrustBundles()
        fresh.set('a.test', { sequence: 1, roots: [root.certificate] })
        expect(
          fresh.identify([leaf.certificate, flipBit(intermediate.certificate, two)], forgedAt),
        ).toBeInstanceOf(PeerFault)
      }),
      { numRuns: 150 },
    )
  })

  test('refuses an extension that occurs twice', () => {
    const names = extension('2.5.29.17', false, Uint8Array.of(0x30, 0x00))
    const { certificate } = forge({ extraExtensions: [names] })
    expect(() => parseCertificate(certificate)).toThrow(DerError)
  })

  test('refuses a name with a character that is cut off elsewhere', () => {
    const { certificate } = forge({ uris: ['spiffe://a.test/agent/alice\u0000/x'] })
    expect(() => parseCertificate(certificate)).toThrow(DerError)
  })

  test.each([
    ['a critical extension that it does not know', '1.2.3.4', true],
    ['critical name constraints', '2.5.29.30', true],
    ['name constraints that are not marked critical', '2.5.29.30', false],
    ['policy mappings that are not marked critical', '2.5.29.33', false],
    ['policy constraints that are not marked critical', '2.5.29.36', false],
    ['an inhibited anyPolicy that is not marked critical', '2.5.29.54', false],
  ])('lists %s as not processed', (_, id, critical) => {
    const odd = extension(id, critical, Uint8Array.of(0x30, 0x00))
    const { certificate } = forge({ extraExtensions: [odd], notAfter: forgedAt + dayMs })
    expect(parseCertificate(certificate).unprocessed).toEqual([id])
  })

  test('passes over an unknown extension that is not critical', () => {
    const odd = extension('1.2.3.4', false, Uint8Array.of(0x30, 0x00))
    expect(parseCertificate(forge({ extraExtensions: [odd] }).certificate).unprocessed).toEqual([])
  })

  test('keeps its own copy of the bytes', () => {
    const bytes = forge().certificate.slice()
    const parsed = parseCertificate(bytes)
    const before = Buffer.from(parsed.signedBytes)
    bytes.fill(0)
    expect(Buffer.from(parsed.signedBytes)).toEqual(before)
  })
})
