import { formatContentDigest, type SignedResponse, utf8 } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { Refusal } from '../lib/refusal.ts'
import { sha256 } from '../lib/sha256.ts'
import { type Countersigned, countersignatureFault } from './countersignature.ts'

const body = utf8('{}')
const digest = formatContentDigest(sha256(body))
const all = ['"@status"', '"content-digest"', '"signature";req']

/** The detail of the refusal; null where the countersignature holds. */
function faultOf(
  change: Partial<Countersigned> & { readonly components?: readonly string[] },
  checked: Refusal | null = null,
): string | null {
  const { components = all, ...rest } = change
  const signed = { components } as unknown as SignedResponse
  const headers = [['content-digest', digest]] as const
  const answer = { signed, receiver: 'shop', answers: 'caller', headers, body, ...rest } as const
  const fault = countersignatureFault(answer, { checkResponse: () => checked })
  if (fault !== null) expect(fault.code).toBe('COUNTERSIGNATURE_REJECTED')
  return fault?.detail ?? null
}

test('a countersignature over status, digest and request holds', () => {
  expect(faultOf({})).toBeNull()
  expect(faultOf({ components: [...all.slice(0, 2), '"signature";req;key="caller"'] })).toBeNull()
  expect(
    faultOf({ body: null, headers: [], components: ['"@status"', '"signature";req'] }),
  ).toBeNull()
})

test('one of a stream that covers a digest of it does not', () => {
  const stream = { body: null, headers: [] }
  for (const component of ['"content-digest"', '"content-digest";key="sha-256"']) {
    const components = ['"@status"', component, '"signature";req']
    expect(faultOf({ ...stream, components })).toBe('it covers a digest of a stream')
  }
  // The digest of the request is another matter.
  const components = ['"@status"', '"content-digest";req', '"signature";req']
  expect(faultOf({ ...stream, components })).toBeNull()
})

test('one that covers less does not, whichever side checks it', () => {
  for (const each of all) {
    expect(faultOf({ components: all.filter((name) => name !== each) })).toMatch(/not cover/)
  }
  const hop = [...all.slice(0, 2), '"signature";req;key="fabric"']
  expect(faultOf({ components: hop })).toMatch('signature of the request')
  expect(faultOf({ components: hop, answers: 'fabric' })).toBeNull()
})

test('one over another body, two digests or none, or by another key does not', () => {
  expect(faultOf({ body: utf8('[]') })).toMatch('does not match')
  expect(faultOf({ headers: [] })).toMatch('cannot be read')
  const twice = [
    ['content-digest', digest],
    ['content-digest', formatContentDigest(sha256(utf8('[]')))],
  ] as const
  expect(faultOf({ headers: twice })).toMatch('two digests')
  expect(faultOf({}, new Refusal('COUNTERSIGNATURE_REJECTED', 'another key'))).toBe('another key')
})
