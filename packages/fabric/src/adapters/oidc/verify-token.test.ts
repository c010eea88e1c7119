import { KeyObject } from 'node:crypto'
import { generateKeyPair, SignJWT } from 'jose'
import { expect, test } from 'vitest'
import { testClock } from '../../../../../test/contracts/identity-lab.ts'
import { TOKEN_LIFETIME_MS, verifyAccessToken } from './verify-token.ts'

test('a token that the holder of a key made for longer than ours live is refused', async () => {
  const clock = testClock()
  const [issuer, audience] = ['https://a.test/oauth', 'https://a.test']
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const key = { kid: 'k', version: 1, publicKey: KeyObject.from(publicKey), retiresAt: null }
  const made = (lifetimeMs: number) => {
    const at = clock.now() / 1000
    return new SignJWT({ client_id: 'alice', sub: 'spiffe://a.test/agent/alice', jti: 'j' })
      .setProtectedHeader({ alg: 'ES256', kid: 'k', typ: 'at+jwt' })
      .setIssuer(issuer)
      .setAudience(audience)
      .setIssuedAt(at)
      .setExpirationTime(at + lifetimeMs / 1000)
      .sign(privateKey)
  }
  const verify = async (lifetimeMs: number) =>
    verifyAccessToken(
      await made(lifetimeMs),
      { find: async () => key },
      { issuer: () => issuer, audience: () => audience, clock },
    )
  expect(await verify(TOKEN_LIFETIME_MS)).toMatchObject({ keyId: 'k' })
  expect(await verify(2 * TOKEN_LIFETIME_MS)).toMatchObject({ code: 'CREDENTIAL_REJECTED' })
})
