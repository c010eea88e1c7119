import { describe, expect, test } from 'vitest'
import { parseUtf8, utf8 } from '../encoding/bytes.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import {
  certifiedKeyId,
  encodeKeyCertificate,
  formatKeyCertificate,
  type KeyCertificate,
  keyCertificateFault,
  keyCertificateInput,
  keyCertificateMsMax,
  parseKeyCertificate,
} from './key-certificate.ts'

const certificate: KeyCertificate = {
  ...{ trustDomain: 'acme.test', purpose: 'forward', slot: 'a', serial: 1_794_000_000_000 },
  publicKey: new Uint8Array(32).fill(7),
  ...{ notBefore: 1_794_000_000_000, notAfter: 1_794_086_400_000 },
  certifier: { name: 'ledger/slots', version: 3 },
}
const signature = new Uint8Array(64).fill(1)
const statement = encodeKeyCertificate(certificate)

describe('a key certificate', () => {
  test('is canonical JSON, signed behind a label that no other statement has', () => {
    const publicKey = 'BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc'
    expect(parseUtf8(keyCertificateInput(statement))).toBe(
      `countersign-key-v1\n{"certifier":{"name":"ledger/slots","version":3},"notAfter":1794086400000,"notBefore":1794000000000,"publicKey":"${publicKey}","purpose":"forward","serial":1794000000000,"slot":"a","trustDomain":"acme.test"}`,
    )
    expect(certifiedKeyId(certificate)).toBe('forward-a-1794000000000')
  })

  test('is read as it was written', () => {
    const text = formatKeyCertificate(statement, signature)
    expect(parseKeyCertificate(text)).toEqual({ certificate, statement, signature })
  })

  const json = parseUtf8(statement)
  test.each([
    [
      'another order',
      json.replace('"serial":1794000000000,', '').replace('{', '{"serial":1794000000000,'),
    ],
    ['a blank', json.replace(',', ', ')],
    ['another member', json.replace('{', '{"a":1,')],
    ['a member twice', json.replace('"slot":"a"', '"slot":"a","slot":"b"')],
    ['no slot', json.replace('"slot":"a",', '')],
    ['an unknown purpose', json.replace('forward', 'statement')],
    ['a short key', json.replace('BwcH', '')],
    ['a negative serial', json.replace('"serial":', '"serial":-')],
    ['a fraction', json.replace('"version":3', '"version":3.5')],
    ['a domain that is none', json.replace('acme.test', 'acme test')],
    ['text that is not JSON', 'x'],
  ])('with %s is malformed', (_, changed) => {
    expect(changed).not.toBe(json)
    const text = formatKeyCertificate(utf8(changed), signature)
    expect(() => parseKeyCertificate(text)).toThrow(MalformedError)
  })

  test('with a signature of another length, or without one, is malformed', () => {
    const short = formatKeyCertificate(statement, signature.subarray(1))
    for (const text of [short, short.split('.')[0] ?? '', `${short}.`, '']) {
      expect(() => parseKeyCertificate(text)).toThrow(MalformedError)
    }
  })

  const { trustDomain, purpose, slot, notBefore, notAfter } = certificate
  const expected = { trustDomain, purpose, slot, now: notBefore, skewMs: 20_000 }
  test.each([
    ['good from its beginning', {}, {}, null],
    ['good a skew before it', {}, { now: notBefore - 20_000 }, null],
    ['not valid before that', {}, { now: notBefore - 20_001 }, 'not valid yet'],
    ['good a skew after its end', {}, { now: notAfter + 19_999 }, null],
    ['expired after that', {}, { now: notAfter + 20_000 }, 'expired'],
    ['not of another domain', {}, { trustDomain: 'other.test' }, 'domain'],
    ['not of another slot', {}, { slot: 'b' }, 'slot a'],
    [
      'not longer than verifiers accept',
      { notAfter: notBefore + keyCertificateMsMax + 1 },
      {},
      'too long',
    ],
    ['not one that ends before it begins', { notAfter: notBefore - 1 }, {}, 'too long'],
  ] as const)('is %s', (_, stated, given, fault) => {
    const found = keyCertificateFault({ ...certificate, ...stated }, { ...expected, ...given })
    if (fault === null) expect(found).toBeNull()
    else expect(found).toContain(fault)
  })
})
