import { generateKeyPair, UnsecuredJWT } from 'jose'
import { describe, expect, test, vi } from 'vitest'
import { testClock } from '../../../../../test/contracts/identity-lab.ts'
import { deadline } from '../../../../../test/harness/deadline.ts'
import { issuerAudience, issuerUrl, openTestIssuer } from '../../../../../test/harness/issuer.ts'
import type { IssuerTerms } from '../../identity/issuers.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { ReadJson } from './issuer-keys.ts'
import { oidcIssuer } from './issuer-tokens.ts'

const keysUrl = `${issuerUrl}/keys`
const terms: IssuerTerms = {
  ...{ issuer: issuerUrl, audience: issuerAudience, kind: 'user', algorithms: ['ES256'] },
  ...{ keyFile: null, roles: [], segments: [], attributes: [] },
}
const admit = () => () => undefined
const one = await openTestIssuer('one')
const two = await openTestIssuer('two')

function open(answers: Record<string, unknown> = {}) {
  const clock = testClock()
  const asked: string[] = []
  const served: Record<string, unknown> = {
    [`${issuerUrl}/.well-known/openid-configuration`]: { issuer: issuerUrl, jwks_uri: keysUrl },
    [keysUrl]: one.keySet,
    ...answers,
  }
  const readJson: ReadJson = async (url) => {
    asked.push(url)
    if (served[url] instanceof Error) throw served[url]
    return served[url]
  }
  const issuer = oidcIssuer(terms, clock, readJson)
  const verify = (token: string) => issuer.verify(token, admit)
  const now = () => clock.now()
  return { verify, issuer, clock, served, asked, now }
}

describe('a token of another issuer', () => {
  test('is good with its claims, and its keys are read once', async () => {
    const { verify, now, asked } = open()
    const token = await one.token({ sub: 'alice', jti: 'j1' }, { now: now() })
    const expected = { subject: 'alice', tokenId: 'j1', claims: { sub: 'alice' } }
    expect(await verify(token)).toMatchObject(expected)
    expect(await verify(token)).toMatchObject(expected)
    expect(asked).toHaveLength(2)
  })

  test.each([
    ['of another issuer', { issuer: `${issuerUrl}/` }, {}],
    ['for another audience', { audience: 'other' }, {}],
    ['for more than a day', { lifetimeSeconds: 86_500 }, {}],
    ['without a subject', {}, { sub: undefined }],
    ['that is bound to a key', {}, { cnf: { jkt: 'x' } }],
    ['that is bound to a certificate', {}, { cnf: { 'x5t#S256': 'x' } }],
  ])('%s is refused', async (_, changes, claims) => {
    const { verify, now } = open()
    const token = await one.token({ sub: 'alice', ...claims }, { now: now(), ...changes })
    expect(await verify(token)).toMatchObject({ code: 'CREDENTIAL_REJECTED' })
  })

  test('that has expired is refused as that', async () => {
    const { verify, now, clock } = open()
    const token = await one.token({ sub: 'alice' }, { now: now() })
    clock.advance(300_000)
    expect(await verify(token)).toMatchObject({ code: 'CREDENTIAL_EXPIRED' })
  })

  test('without a signature, or with that of another key, is refused', async () => {
    const { verify, now } = open()
    const unsigned = new UnsecuredJWT({ sub: 'alice' })
      .setIssuer(issuerUrl)
      .setAudience(issuerAudience)
      .setExpirationTime(Math.floor(now() / 1000) + 60)
      .encode()
    const { privateKey } = await generateKeyPair('ES256')
    const forged = await one.token({ sub: 'alice' }, { now: now(), key: privateKey })
    for (const token of [unsigned, forged, `${forged}x`]) {
      expect(await verify(token)).toMatchObject({ code: 'CREDENTIAL_REJECTED' })
    }
  })
})

describe('the keys of an issuer', () => {
  test('are read again for a key that is new, and a token of the old one ends', async () => {
    const { verify, now, issuer, served, clock, asked } = open()
    await verify(await one.token({ sub: 'alice' }, { now: now() }))
    served[keysUrl] = two.keySet
    clock.advance(31_000)
    const before = issuer.keysVersion()
    const changed = await two.token({ sub: 'alice' }, { now: now() })
    expect(await verify(changed)).toMatchObject({ subject: 'alice' })
    expect(issuer.keysVersion()).toBe(before + 1)
    const old = await one.token({ sub: 'alice' }, { now: now() })
    expect(await verify(old)).toMatchObject({ code: 'CREDENTIAL_REJECTED' })
    expect(asked).toHaveLength(4)
  })

  test('are read again every ten minutes, also behind tokens that are known already', async () => {
    const { verify, now, issuer, served, clock, asked } = open()
    await verify(await one.token({ sub: 'alice' }, { now: now() }))
    const before = issuer.keysVersion()
    served[keysUrl] = two.keySet
    expect(asked).toHaveLength(2)
    clock.advance(600_001)
    await vi.waitFor(() => expect(issuer.keysVersion()).toBe(before + 1), deadline)
    expect(asked).toHaveLength(4)
  })

  test('are read again before the first token after a while without any', async () => {
    const { verify, now, issuer, served, clock } = open()
    await verify(await one.token({ sub: 'alice' }, { now: now() }))
    served[keysUrl] = two.keySet
    clock.advance(1_200_001)
    const old = await one.token({ sub: 'alice' }, { now: now() })
    expect(issuer.keysVersion()).toBeNaN()
    expect(await verify(old)).toMatchObject({ code: 'CREDENTIAL_REJECTED' })
  })

  test('go on for a day if they cannot be read again', async () => {
    const { verify, now, issuer, served, clock } = open()
    await verify(await one.token({ sub: 'alice' }, { now: now() }))
    const before = issuer.keysVersion()
    served[keysUrl] = new Error('down')
    clock.advance(1_200_001)
    const token = await one.token({ sub: 'alice' }, { now: now() })
    expect(await verify(token)).toMatchObject({ subject: 'alice' })
    // Until another attempt can be made.
    expect(issuer.keysVersion()).toBe(before)
  })

  test('are asked for once, however many tokens name an unknown one', async () => {
    const { verify, now, asked } = open()
    const tokens = await Promise.all(
      Array.from({ length: 20 }, (_, at) =>
        two.token({ sub: `a${at}` }, { now: now(), kid: `kid-${at}` }),
      ),
    )
    const answers = await Promise.all(tokens.map(verify))
    expect(answers.every((each) => each instanceof Refusal)).toBe(true)
    expect(asked).toHaveLength(2)
  })

  test('that cannot be read decide nothing, and are worth nothing after a day', async () => {
    const { verify, now, issuer, served, clock } = open({ [keysUrl]: new Error('down') })
    await expect(verify(await one.token({ sub: 'a' }, { now: now() }))).rejects.toThrow('down')
    served[keysUrl] = one.keySet
    clock.advance(31_000)
    expect(await verify(await one.token({ sub: 'a' }, { now: now() }))).toMatchObject({
      subject: 'a',
    })
    served[keysUrl] = new Error('down')
    clock.advance(86_401_000)
    await expect(verify(await one.token({ sub: 'a' }, { now: now() }))).rejects.toThrow('down')
    // No token that they verified before passes for one of the same keys.
    expect(issuer.keysVersion()).toBeNaN()
  })

  test('are not taken from the document of another issuer, nor from plain HTTP', async () => {
    const discovery = `${issuerUrl}/.well-known/openid-configuration`
    for (const document of [
      { issuer: 'https://evil.example', jwks_uri: keysUrl },
      { issuer: issuerUrl, jwks_uri: 'http://login.example.com/keys' },
      null,
    ]) {
      const { verify, now } = open({ [discovery]: document })
      await expect(verify(await one.token({ sub: 'a' }, { now: now() }))).rejects.toThrow(TypeError)
    }
  })
})
