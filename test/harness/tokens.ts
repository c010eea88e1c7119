import { randomUUID } from 'node:crypto'
import type { Identity } from '@countersign/sdk'
import { decodeJwt, SignJWT } from 'jose'

export interface TokenOrder {
  /** Names of agents and channels. */
  readonly scope?: string
  /** Bound to the certificate (RFC 8705) instead of asked for by the signing key. */
  readonly isBound?: boolean
}

/** An access token for `identity`, as its own token server gives it out. */
export async function tokenFor(identity: Identity, order: TokenOrder = {}): Promise<string> {
  const client =
    order.isBound === true ? { client_id: identity.spiffeId } : await assertion(identity)
  const form = {
    grant_type: 'client_credentials',
    ...client,
    ...(order.scope === undefined ? {} : { scope: order.scope }),
  }
  const response = await identity.connection.request({
    method: 'POST',
    path: '/oauth/token',
    headers: [['content-type', 'application/x-www-form-urlencoded']],
    body: Buffer.from(new URLSearchParams(form).toString()),
    repeatable: false,
  })
  const chunks: Uint8Array[] = []
  for await (const chunk of response.body) chunks.push(chunk)
  const answer = JSON.parse(Buffer.concat(chunks).toString()) as { access_token?: string }
  if (answer.access_token === undefined) throw new Error(JSON.stringify(answer))
  return answer.access_token
}

async function assertion(identity: Identity): Promise<Record<string, string>> {
  const now = Math.floor(Date.now() / 1000)
  const { privateKey, keyId } = identity.signing
  const claims = {
    iss: identity.name,
    sub: identity.name,
    aud: `${identity.url}/oauth`,
    jti: randomUUID(),
    iat: now,
    exp: now + 60,
  }
  return {
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: await new SignJWT(claims)
      .setProtectedHeader({ alg: 'EdDSA', kid: keyId })
      .sign(privateKey),
  }
}

/** The three parts of a token, decoded, for those who want to change one. */
export function partsOf(token: string): {
  readonly header: Record<string, unknown>
  readonly claims: Record<string, unknown>
  readonly signature: string
} {
  const [head = '', , signature = ''] = token.split('.')
  const header = JSON.parse(Buffer.from(head, 'base64url').toString()) as Record<string, unknown>
  return { header, claims: decodeJwt(token), signature }
}

export function base64UrlJson(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
