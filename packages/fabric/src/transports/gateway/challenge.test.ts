import { expect, test } from 'vitest'
import { challenged } from './challenge.ts'

const reply = (status: number, code: string, mayHaveActed = 'false') => ({
  status,
  headers: [
    ['countersign-refusal', code] as const,
    ['countersign-may-have-acted', mayHaveActed] as const,
  ],
  body: new Uint8Array(0),
})

test('a caller without a credential is told where tokens come from', () => {
  const { headers } = challenged(reply(401, 'CREDENTIAL_MISSING'), 'https://a.test')
  expect(headers).toContainEqual([
    'www-authenticate',
    'Bearer resource_metadata="https://a.test/.well-known/oauth-protected-resource"',
  ])
})

test('a caller without a signature is told what to sign', () => {
  const { headers } = challenged(reply(401, 'SIGNATURE_MISSING'), 'https://a.test')
  const [, accepted] = headers.find(([name]) => name === 'accept-signature') ?? []
  for (const component of ['@method', '@path', 'content-digest', 'countersign-to']) {
    expect(accepted).toContain(`"${component}"`)
  }
})

test('other answers stay as they are', () => {
  const other = reply(403, 'NOT_PERMITTED')
  expect(challenged(other, 'https://a.test')).toBe(other)
})

test('what a receiver may have acted on is not challenged', () => {
  for (const code of ['CREDENTIAL_EXPIRED', 'SIGNATURE_MISSING']) {
    const stated = reply(401, code, 'true')
    expect(challenged(stated, 'https://a.test')).toBe(stated)
  }
  const ordinary = { status: 401, headers: [], body: new Uint8Array(0) }
  expect(challenged(ordinary, 'https://a.test')).toBe(ordinary)
})
