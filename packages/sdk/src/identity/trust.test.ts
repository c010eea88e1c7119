import { toBase64 } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { sdkLab } from '../../../../test/harness/sdk-lab.ts'
import { readTrust } from '../index.ts'
import { parseTrustDocument } from './trust.ts'

const lab = sdkLab()

test('the trust document of a fabric is read, with its roots and keys', async () => {
  const trust = parseTrustDocument(lab.fabric.trustDocument())
  expect(trust).toMatchObject({ trustDomain: 'acme.test', fabricKeyId: 'fabric-1' })
  expect(trust.roots).toEqual([lab.fabric.authority.root])
  expect(trust.fabricKey).toHaveLength(32)
  expect(trust.enrollmentKey).toHaveLength(32)
  expect(await readTrust(lab.fabric.join('any'))).toEqual(trust)
})

test('a document without a key for enrolments is read as well', () => {
  const { enrollmentKey: _, ...document } = lab.fabric.trustDocument()
  expect(parseTrustDocument(document).enrollmentKey).toBeNull()
})

const root = toBase64(new Uint8Array(8))
test.each<[string, object]>([
  ['another version', { v: 1 }],
  ['no roots', { bundle: [] }],
  ['too many roots', { bundle: Array.from({ length: 65 }, () => root) }],
  ['a root that is empty', { bundle: [''] }],
  ['a root that is not base64', { bundle: ['=='] }],
  ['roots that are not a list', { bundle: root }],
  ['no key of the fabric', { fabricKey: null }],
  ['a key of the fabric without an id', { fabricKey: { keyId: '', publicKey: root } }],
  ['a key id beyond its limit', { fabricKey: { keyId: 'x'.repeat(257), publicKey: root } }],
  ['a key for enrolments of another length', { enrollmentKey: root }],
  ['no trust domain', { trustDomain: undefined }],
  ['no logs', { slots: [] }],
  ['a key of logs that is none', { slotKey: 'x' }],
])('a document with %s is not acceptable', (_, change) => {
  const document = { ...lab.fabric.trustDocument(), ...change }
  expect(() => parseTrustDocument(document)).toThrow('TRUST_MALFORMED')
})

test.each([null, 7, 'text', [[]]])('a document that is %j is not acceptable', (document) => {
  expect(() => parseTrustDocument(document)).toThrow('TRUST_MALFORMED')
})
