import { expect, test } from 'vitest'
import { Refusal, StatedRefusal } from '../../lib/refusal.ts'
import { challenged } from './challenge.ts'

const reply = (status: number, refusal: Refusal) => ({
  ...{ status, headers: [], body: new Uint8Array(0) },
  refusal,
})

test('a caller without a credential receives the place where tokens come from', () => {
  const { headers } = challenged(
    reply(401, new Refusal('CREDENTIAL_MISSING', '')),
    'https://a.test',
  )
  expect(headers).toContainEqual([
    'www-authenticate',
    'Bearer resource_metadata="https://a.test/.well-known/oauth-protected-resource"',
  ])
})

test('a caller without a signature receives the components to sign', () => {
  const { headers } = challenged(reply(401, new Refusal('SIGNATURE_MISSING', '')), 'https://a.test')
  const [, accepted] = headers.find(([name]) => name === 'accept-signature') ?? []
  for (const component of ['@method', '@path', 'content-digest', 'countersign-to']) {
    expect(accepted).toContain(`"${component}"`)
  }
})

test('other answers stay as they are', () => {
  const other = reply(403, new Refusal('NOT_PERMITTED', ''))
  expect(challenged(other, 'https://a.test')).toBe(other)
})

test('a request that a receiver may have acted on is not challenged', () => {
  const statedBy = { statedBy: 'spiffe://a.test/agent/echo', limit: null }
  for (const code of ['CREDENTIAL_EXPIRED', 'SIGNATURE_MISSING'] as const) {
    const stated = reply(401, new StatedRefusal(code, '', statedBy))
    expect(challenged(stated, 'https://a.test')).toBe(stated)
  }
  const ordinary = { status: 401, headers: [], body: new Uint8Array(0) }
  expect(challenged(ordinary, 'https://a.test')).toBe(ordinary)
})

test('fields that only look like a refusal are not challenged', () => {
  const headers = [
    ['countersign-refusal', 'SIGNATURE_MISSING'],
    ['countersign-may-have-acted', 'false'],
  ] as const
  const imitated = { status: 401, headers, body: new Uint8Array(0) }
  expect(challenged(imitated, 'https://a.test')).toBe(imitated)
})
