import { expect, test } from 'vitest'
import { challenged } from './challenge.ts'

const reply = (status: number, code: string) => ({
  status,
  headers: [['countersign-refusal', code] as const],
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
