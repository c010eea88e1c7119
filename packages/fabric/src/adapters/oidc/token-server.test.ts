import { createHash, createPrivateKey, randomUUID } from 'node:crypto'
import { Agent, createServer, request as httpsRequest } from 'node:https'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { clientTlsOptions, serverTlsOptions } from '@countersign/protocol/tls'
import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  type EnrolledAgent,
  enrollAgent,
  openTestIdentity,
} from '../../../../../test/contracts/identity-lab.ts'
import type { Presented } from '../../identity/caller.ts'
import type { TokenRecord, VerifiedToken } from '../../identity/token-server.ts'
import type { Refusal } from '../../lib/refusal.ts'

let url = ''
let deps: Awaited<ReturnType<typeof openTestIdentity>>
let server: ReturnType<typeof createServer>
let alice: EnrolledAgent
let issued: VerifiedToken[] = []
let refused: Refusal[] = []
/** True if the ledger can write. */
let records = true

const record: TokenRecord = {
  async issued(token) {
    if (!records) throw new Error('the disk is full')
    issued.push(token)
  },
  async refused(refusal) {
    if (!records) throw new Error('the disk is full')
    refused.push(refusal)
  },
}

beforeAll(async () => {
  deps = await openTestIdentity(() => url)
  const options = serverTlsOptions({ ...deps.identity.server.current(), requestPeer: 'optional' })
  server = createServer(options, (request, response) => {
    buffer(request)
      .then((body) => deps.identity.handleTokens(request, response, { body, record }))
      .catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `https://localhost:${(server.address() as AddressInfo).port}`
  alice = await enrollAgent(deps.identity, { name: 'alice' })
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
}

/** One request, over a connection that shows `credential`. */
function send(
  path: string,
  form: Record<string, string> | null,
  credential?: EnrolledAgent,
): Promise<Answer> {
  const { bundles, server: own } = deps.identity
  const agent = new Agent(
    clientTlsOptions({
      bundles,
      now: deps.clock.now,
      expected: own.spiffeId,
      ...(credential === undefined ? {} : { credential }),
    }),
  )
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded', host: 'evil.example' }
    const request = httpsRequest(
      `${url}${path}`,
      { agent, method: form === null ? 'GET' : 'POST', ...(form === null ? {} : { headers }) },
      (response) => {
        const parts: Buffer[] = []
        response
          .on('data', (part: Buffer) => parts.push(part))
          .on('end', () => {
            agent.destroy()
            const text = Buffer.concat(parts).toString()
            resolve({
              status: response.statusCode ?? 0,
              body: JSON.parse(text) as Record<string, unknown>,
            })
          })
      },
    )
    request.on('error', reject).end(form === null ? '' : new URLSearchParams(form).toString())
  })
}

async function assertion(
  changes: Record<string, unknown> = {},
  by = alice,
): Promise<Record<string, string>> {
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    iss: 'alice',
    sub: 'alice',
    aud: `${url}/oauth`,
    jti: randomUUID(),
    iat: now,
    exp: now + 60,
    ...changes,
  }
  const key = createPrivateKey(by.secrets.signing.export({ type: 'pkcs8', format: 'pem' }))
  const jwt = await new SignJWT(claims)
    .setProtectedHeader({ alg: 'EdDSA', kid: by.grant.signingKeyId })
    .sign(key)
  return {
    grant_type: 'client_credentials',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: jwt,
  }
}

function authenticate(presented: Partial<Presented>) {
  return deps.identity.authenticatorOf('token')({
    certificateChain: null,
    bearer: null,
    apiKey: null,
    ...presented,
  })
}

async function tokenBySignature(extra: Record<string, string> = {}): Promise<string> {
  const { body } = await send('/oauth/token', { ...(await assertion()), ...extra })
  return String(body['access_token'])
}

test('the discovery document names the configured issuer, regardless of the Host field', async () => {
  for (const path of [
    '/oauth/.well-known/oauth-authorization-server',
    '/oauth/.well-known/openid-configuration',
  ]) {
    const { status, body } = await send(path, null)
    expect(status).toBe(200)
    expect(body).toMatchObject({
      issuer: `${url}/oauth`,
      token_endpoint: `${url}/oauth/token`,
      jwks_uri: `${url}/oauth/jwks`,
    })
  }
  const { body } = await send('/oauth/jwks', null)
  expect(body).toMatchObject({ keys: [{ kty: 'EC', crv: 'P-256', alg: 'ES256' }] })
  expect(JSON.stringify(body)).not.toContain('"d"')
})

test('an agent gets a token for its signing key, and the token proves the agent', async () => {
  const token = await tokenBySignature({ scope: 'bob payroll' })
  expect(decodeProtectedHeader(token)).toMatchObject({ typ: 'at+jwt', alg: 'ES256' })
  const claims = decodeJwt(token)
  expect(claims).toMatchObject({
    iss: `${url}/oauth`,
    aud: url,
    sub: 'spiffe://a.test/agent/alice',
    client_id: 'alice',
  })
  expect(Number(claims.exp) - Number(claims.iat)).toBe(300)
  expect(await authenticate({ bearer: token })).toMatchObject({
    name: 'alice',
    method: 'token',
    scopes: ['bob', 'payroll'],
  })
})

test('an agent gets a token for its certificate, and the token is bound to it', async () => {
  const form = { grant_type: 'client_credentials', client_id: 'spiffe://a.test/agent/alice' }
  const { status, body } = await send('/oauth/token', form, alice)
  expect(status).toBe(200)
  const bearer = String(body['access_token'])
  const [leaf = new Uint8Array()] = alice.certificateChain
  const thumbprint = createHash('sha256').update(leaf).digest('base64url')
  expect(decodeJwt(bearer)).toMatchObject({ cnf: { 'x5t#S256': thumbprint } })
  expect(await authenticate({ bearer, certificateChain: alice.certificateChain })).toMatchObject({
    name: 'alice',
    scopes: null,
  })
  const bob = await enrollAgent(deps.identity, { name: 'bob' })
  expect(await authenticate({ bearer })).toMatchObject({ code: 'CREDENTIAL_REJECTED' })
  expect(await authenticate({ bearer, certificateChain: bob.certificateChain })).toMatchObject({
    code: 'CREDENTIAL_REJECTED',
  })
  // Bob's certificate does not open Alice's account, and no certificate opens none.
  expect((await send('/oauth/token', form, bob)).status).toBe(401)
  expect((await send('/oauth/token', form)).status).toBe(401)
})

test('an assertion serves once, for us, for a short time, and only from its owner', async () => {
  const once = await assertion()
  expect((await send('/oauth/token', once)).status).toBe(200)
  expect((await send('/oauth/token', once)).status).toBe(401)
  const soon = Math.floor(Date.now() / 1000)
  for (const changes of [
    { aud: 'https://evil.example/oauth' },
    { aud: 'https://evil.example/oauth/token' },
    { aud: [`${url}/oauth`, 'https://evil.example'] },
    { exp: soon + 86_400 },
    { exp: soon - 60 },
    { sub: 'eve', iss: 'eve' },
  ]) {
    expect((await send('/oauth/token', await assertion(changes))).status).toBeGreaterThanOrEqual(
      400,
    )
  }
  const mallory = await enrollAgent(deps.identity, { name: 'mallory' })
  expect((await send('/oauth/token', await assertion({}, mallory))).status).toBe(401)
})

test('tokens are for this fabric, and for names only', async () => {
  const other = await send('/oauth/token', {
    ...(await assertion()),
    resource: 'https://other.example',
  })
  expect(other).toMatchObject({ status: 400, body: { error: 'invalid_target' } })
  const odd = await send('/oauth/token', { ...(await assertion()), scope: 'openid *' })
  expect(odd).toMatchObject({ status: 400, body: { error: 'invalid_scope' } })
})

test('no other grant is given', async () => {
  for (const grant_type of [
    'password',
    'authorization_code',
    'refresh_token',
    'urn:ietf:params:oauth:grant-type:jwt-bearer',
  ]) {
    const { status } = await send('/oauth/token', { ...(await assertion()), grant_type })
    expect(status).toBe(400)
  }
})

test('the outcome of a request is recorded before its client receives it, or there is no token [record:tokens]', async () => {
  issued = []
  refused = []
  const token = decodeJwt(await tokenBySignature({ scope: 'bob' }))
  expect(issued).toMatchObject([{ subject: token.sub, tokenId: token.jti, scopes: ['bob'] }])
  await send('/oauth/token', await assertion({ exp: 1 }))
  await send('/oauth/token', { ...(await assertion()), grant_type: 'password' })
  await send('/oauth/token', { nothing: 'known' })
  expect(refused.map(({ code }) => code)).toEqual([
    'CREDENTIAL_REJECTED',
    'MESSAGE_MALFORMED',
    'MESSAGE_MALFORMED',
  ])
  records = false
  for (const form of [await assertion(), await assertion({ exp: 1 })]) {
    const { status, body } = await send('/oauth/token', form)
    expect(status).toBe(503)
    expect(body).toEqual({ error: 'temporarily_unavailable', error_description: 'not on record' })
  }
  records = true
})

test('an agent that is not active gets no token, and one that it has is worth nothing at once', async () => {
  const dave = await enrollAgent(deps.identity, { name: 'dave' })
  const signed = () => assertion({ iss: 'dave', sub: 'dave' }, dave)
  const { body } = await send('/oauth/token', await signed())
  const bearer = String(body['access_token'])
  expect(await authenticate({ bearer })).toMatchObject({ name: 'dave' })
  await deps.identity.setStatus('dave', 'quarantined', 'odd')
  expect(await authenticate({ bearer })).toMatchObject({ code: 'AGENT_QUARANTINED' })
  expect((await send('/oauth/token', await signed())).status).toBe(401)
})

test('a token that is changed, of another kind or of another signer is refused', async () => {
  const token = await tokenBySignature()
  const [head = '', payload = '', signature = ''] = token.split('.')
  const claims = decodeJwt(token)
  const forged = (header: object) =>
    new SignJWT(claims).setProtectedHeader({ alg: 'EdDSA', ...header }).sign(alice.secrets.signing)
  const none = `${Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')}.${payload}.`
  const flipped = `${head}.${payload}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`
  for (const bearer of [
    none,
    flipped,
    '',
    'a.b.c',
    'x'.repeat(5_000),
    await forged({ typ: 'at+jwt', kid: decodeProtectedHeader(token).kid }),
    await forged({ typ: 'JWT' }),
  ]) {
    expect(await authenticate({ bearer })).toMatchObject({ code: 'CREDENTIAL_REJECTED' })
  }
  expect(await authenticate({})).toBeNull()
})

test('a token that its own claims exclude costs no check of a signature', async () => {
  const token = await tokenBySignature()
  const [head = '', , signature = ''] = token.split('.')
  const claims = decodeJwt(token)
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const under = (changes: object) => `${head}.${encode({ ...claims, ...changes })}.${signature}`
  const otherHead = encode({ ...decodeProtectedHeader(token), kid: 'other' })
  const excluded = {
    iss: under({ iss: 'https://elsewhere.test' }),
    aud: under({ aud: ['https://elsewhere.test'] }),
    exp: under({ exp: Number(claims.iat) - 3600 }),
    'no exp': under({ exp: 'soon' }),
    kid: `${otherHead}.${encode(claims)}.${signature}`,
    claims: `${head}.${encode([])}.${signature}`,
    length: `${token}A`,
  }
  for (const [name, bearer] of Object.entries(excluded)) {
    const network = `of ${name}`
    // One more than the allowance of a network for checks that fail.
    for (let i = 0; i <= 600; i++) {
      expect(await authenticate({ bearer, network })).toMatchObject({
        code: name === 'exp' ? 'CREDENTIAL_EXPIRED' : 'CREDENTIAL_REJECTED',
      })
    }
    expect(await authenticate({ bearer: await tokenBySignature(), network })).toMatchObject({
      name: 'alice',
    })
  }
})

test('a network that keeps sending forged tokens costs a bounded number of signature checks', async () => {
  const token = await tokenBySignature()
  expect(await authenticate({ bearer: token, network: 'a' })).toMatchObject({ name: 'alice' })
  const [head = '', claims = '', signature = ''] = (await tokenBySignature()).split('.')
  const forged = (i: number) =>
    `${head}.${claims}.${i.toString(36).padStart(8, 'A')}${signature.slice(8)}`
  const attempt = async (i: number) => await authenticate({ bearer: forged(i), network: 'a' })
  const attempts = await Promise.all(Array.from({ length: 700 }, (_, i) => attempt(i)))
  const codes = attempts.map((each) => (each as Refusal).code)
  expect(codes.filter((code) => code === 'CREDENTIAL_REJECTED')).toHaveLength(600)
  expect(codes.filter((code) => code === 'RATE_LIMITED')).toHaveLength(100)
  const fresh = await tokenBySignature()
  expect(await authenticate({ bearer: fresh, network: 'a' })).toMatchObject({
    code: 'RATE_LIMITED',
    limit: 'identity.tokenChecks, 600 per minute',
  })
  // Tokens that were seen to be good go on, and other networks are not concerned.
  expect(await authenticate({ bearer: token, network: 'a' })).toMatchObject({ name: 'alice' })
  expect(await authenticate({ bearer: fresh, network: 'b' })).toMatchObject({ name: 'alice' })
  deps.clock.advance(60_000)
  expect(await attempt(701)).toMatchObject({ code: 'CREDENTIAL_REJECTED' })
  deps.clock.advance(-60_000)
})

test('a token ends with its time, also when it was seen before', async () => {
  const bearer = await tokenBySignature()
  expect(await authenticate({ bearer })).toMatchObject({ name: 'alice' })
  // The server issues by real time, and the lab's clock has stood still since the first test.
  const leftMs = Number(decodeJwt(bearer).exp) * 1000 - deps.clock.now()
  deps.clock.advance(leftMs - 1_000)
  expect(await authenticate({ bearer })).toMatchObject({ name: 'alice' })
  deps.clock.advance(1_000)
  expect(await authenticate({ bearer })).toMatchObject({ code: 'CREDENTIAL_EXPIRED' })
  deps.clock.advance(-leftMs)
})

test('a rotation is published with the key before, whose tokens stay good [authenticate:token]', async () => {
  const before = await tokenBySignature()
  const { version } = await deps.identity.rotateTokenKey()
  expect(version).toBe(2)
  const after = await tokenBySignature()
  const kids = [after, before].map((token) => decodeProtectedHeader(token).kid)
  expect(new Set(kids).size).toBe(2)
  const { body } = await send('/oauth/jwks', null)
  expect(body).toMatchObject({ keys: kids.map((kid) => ({ kid, alg: 'ES256', kty: 'EC' })) })
  expect(JSON.stringify(body)).not.toContain('"d"')
  for (const bearer of [before, after]) {
    expect(await authenticate({ bearer })).toMatchObject({ name: 'alice', method: 'token' })
  }
  const [head = '', ...rest] = after.split('.')
  const claimed = { ...decodeProtectedHeader(after), kid: kids[1] }
  const swapped = [Buffer.from(JSON.stringify(claimed)).toString('base64url'), ...rest].join('.')
  expect(head).not.toBe(swapped.split('.')[0])
  expect(await authenticate({ bearer: swapped })).toMatchObject({ code: 'CREDENTIAL_REJECTED' })
})
