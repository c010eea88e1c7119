import { expect, test } from 'vitest'
import { Refusal } from '../lib/refusal.ts'
import { authenticateByIssuer } from './authenticate-by-issuer.ts'
import { authenticateByToken } from './authenticate-by-token.ts'
import type { Presented } from './caller.ts'
import type { AgentRecord } from './directory.ts'
import type { IssuerTerms } from './issuers.ts'
import type { TokenServer, VerifiedToken } from './token-server.ts'

const now = 1_800_000_000_000
const clock = { now: () => now, monotonic: () => 0 }
const alice: AgentRecord = {
  ...{ name: 'alice', kind: 'agent', roles: [], segment: '', attributes: {}, keys: null },
  ...{ status: 'active', statusReason: '', createdAt: 0, generation: 0 },
}
const directory = {
  ...{ find: (name: string) => (name === 'alice' ? alice : null), findBySigningKey: () => null },
  ...{ list: () => [alice], put: () => Promise.reject(new Error('nothing is changed here')) },
  onChange: () => () => undefined,
}
const withdrawn = new Refusal('CREDENTIAL_REJECTED', 'the key was taken back')

const presenting = (bearer: string): Presented => ({
  ...{ certificateChain: null, apiKey: null, bearer },
})

test('a token that was verified is refused once its key is not accepted any more', async () => {
  const token: VerifiedToken = {
    ...{ tokenId: 't', subject: 'spiffe://a.test/agent/alice', scopes: null },
    ...{ expiresAt: now + 60_000, generation: 0, thumbprint: null, keyId: 'k' },
  }
  let accepted = true
  const tokens: TokenServer = {
    verify: async () => (accepted ? token : withdrawn),
    isAccepted: (keyId) => accepted && keyId === 'k',
    handle: () => Promise.reject(new Error('not asked')),
    rotate: () => Promise.reject(new Error('not asked')),
  }
  const authenticate = authenticateByToken({ trustDomain: 'a.test', tokens, directory, clock })
  expect(await authenticate(presenting('a.b.c'))).toMatchObject({ name: 'alice' })
  accepted = false
  expect(await authenticate(presenting('a.b.c'))).toBe(withdrawn)
})

test('a token whose key its issuer takes back during the verification is verified again', async () => {
  const issuer = 'https://login.example.com'
  const terms: IssuerTerms = {
    ...{ issuer, audience: 'countersign', kind: 'user', algorithms: ['ES256'], keyFile: null },
    ...{ roles: [], segments: [], attributes: [] },
  }
  let version = 1
  const verify = async () => {
    if (version === 2) return withdrawn
    // By the keys of before; the next ones are read before this resolves.
    version = 2
    return { tokenId: 't', subject: 'ann', expiresAt: now + 60_000, claims: {} }
  }
  const issuers = [{ terms, keysVersion: () => version, verify }]
  const authenticate = authenticateByIssuer({ trustDomain: 'a.test', issuers, directory, clock })
  const claims = Buffer.from(JSON.stringify({ iss: issuer })).toString('base64url')
  const presented = presenting(`e30.${claims}.x`)
  expect(await authenticate(presented)).toMatchObject({ kind: 'user', method: 'token' })
  expect(await authenticate(presented)).toBe(withdrawn)
})
