import { createHmac, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { SignJWT } from 'jose'
import { type Attempt, attack } from '../harness/attack.ts'
import { refusedOnQueue } from '../harness/channels.ts'
import { refused } from '../harness/refusals.ts'
import { base64UrlJson, partsOf, tokenFor } from '../harness/tokens.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Forge = (token: string, world: World) => string | Promise<string>

const ownKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey

/** Signed with a key of the attacker's, under whatever header it likes. */
const resigned =
  (change: Record<string, unknown>): Forge =>
  (token) => {
    const { header, claims } = partsOf(token)
    return new SignJWT(claims)
      .setProtectedHeader({ ...header, alg: 'ES256', ...change })
      .sign(ownKey)
  }

const forgeries: Readonly<Record<string, Forge>> = {
  'without a signature': (token) => token.replace(/\.[^.]*$/, '.'),
  'with the algorithm none': (token) => {
    const { header, claims } = partsOf(token)
    return `${base64UrlJson({ ...header, alg: 'none' })}.${base64UrlJson(claims)}.`
  },
  'with None in other letters': (token) => {
    const { header, claims } = partsOf(token)
    return `${base64UrlJson({ ...header, alg: 'nOnE' })}.${base64UrlJson(claims)}.`
  },
  'with the public key as a shared secret': async (token, world) => {
    const { header, claims } = partsOf(token)
    const jwks = await fetchJson(world, '/oauth/jwks')
    const [jwk] = (jwks as { keys: Record<string, unknown>[] }).keys
    const pem = createPublicKey({ key: jwk ?? {}, format: 'jwk' }).export({
      type: 'spki',
      format: 'pem',
    })
    const signed = `${base64UrlJson({ ...header, alg: 'HS256' })}.${base64UrlJson(claims)}`
    return `${signed}.${createHmac('sha256', pem).update(signed).digest('base64url')}`
  },
  'with another key under the known id': resigned({}),
  'with another key under its own id': resigned({ kid: 'mine' }),
  'with a key that it brings along': resigned({
    kid: 'mine',
    jwk: createPublicKey(ownKey).export({ format: 'jwk' }),
  }),
  'with the address of a key': resigned({ kid: 'mine', jku: 'https://collector.example/jwks' }),
  'as a token of another type': resigned({ typ: 'JWT' }),
  'with a changed claim': (token) => {
    const { header, claims, signature } = partsOf(token)
    const changed = { ...claims, sub: 'spiffe://countersign.local/user/operator' }
    return `${base64UrlJson(header)}.${base64UrlJson(changed)}.${signature}`
  },
  'with one changed character': (token) => {
    const [head = '', claims = '', signature = ''] = token.split('.')
    return `${head}.${claims}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`
  },
  'that is not a token': () => 'a.b.c',
  'too long to be one': () => 'x'.repeat(5000),
}

async function fetchJson(world: World, path: string): Promise<unknown> {
  const { body } = await world.caller.connection.request({
    ...{ method: 'GET', path, headers: [], body: new Uint8Array(0), repeatable: true },
  })
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return JSON.parse(Buffer.concat(chunks).toString())
}

const onGateway: Record<string, Attempt> = Object.fromEntries(
  Object.entries(forgeries).map(([way, make]) => [
    way,
    refused('gateway', 'CREDENTIAL_REJECTED', async (world) => {
      const token = await make(await tokenFor(world.caller), world)
      return { as: null, headers: [['Authorization', `Bearer ${token}`]] }
    }),
  ]),
)

attack(verifies(['authenticate:token'], 'a token that our server did not sign is refused'), {
  gateway: onGateway,
  mesh: 'the mesh knows callers by certificate only',
  queue: refusedOnQueue('CREDENTIAL_REJECTED', async (world) => {
    const token = await resigned({})(await tokenFor(world.caller), world)
    return { as: null, headers: [['Authorization', `Bearer ${token}`]] }
  }),
})
