import type { KeyObject } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { isAgentName, parseSpiffeId, toBase64Url } from '@countersign/protocol'
import {
  PeerFault,
  type PeerIdentity,
  peerChain,
  peerIdentity,
  tlsSocketOf,
  toPem,
} from '@countersign/protocol/tls'
import {
  type Adapter,
  type AdapterPayload,
  type Configuration,
  ExternalSigningKey,
  errors,
  type KoaContextWithOIDC,
  Provider,
} from 'oidc-provider'
import type { AgentRecord } from '../../identity/directory.ts'
import type { TokenServerOptions } from '../../identity/token-server.ts'
import { createdAheadMsMax } from '../../lib/clock.ts'
import type { TokenKey, TokenKeys } from './token-key.ts'
import { recordTokens, type TokenRecords } from './token-record.ts'
import { TOKEN_LIFETIME_MS, verifyAccessToken } from './verify-token.ts'

/**
 * Receivers check RFC 9068 tokens without asking us: the lifetime is short enough that they do not
 * have to.
 */
const tokenSeconds = TOKEN_LIFETIME_MS / 1000

/** RFC 7523, section 3: an assertion is for one use, now. */
const assertionSecondsMax = 300

/** Assertions are remembered a little longer than the oldest one that would be accepted. */
const assertionReplayMs = (assertionSecondsMax + 60) * 1000

const scopesMax = 32

/** The authorization server: client credentials for enrolled agents, and nothing else. */
export function createProvider(
  options: TokenServerOptions,
  { keys, versions }: { readonly keys: TokenKeys; readonly versions: readonly TokenKey[] },
  records: TokenRecords,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const provider = new Provider(options.issuer(), configurationOf(options, jwksOf(keys, versions)))
  // The vendor would print a stack trace for every client that leaves in the middle of a request.
  provider.silent = true
  provider.use(recordTokens(records, (token) => verifyAccessToken(token, keys, options)))
  return provider.callback()
}

/** The newest version signs; the ones before it are published until they verify nothing. */
function jwksOf(keys: TokenKeys, versions: readonly TokenKey[]): Configuration['jwks'] {
  class SigningKey extends ExternalSigningKey {
    readonly #key: TokenKey

    constructor(key: TokenKey) {
      super()
      this.#key = key
      // Writable, which the vendor's types leave out.
      Object.assign(this, { kid: key.kid, alg: 'ES256' })
    }

    override keyObject(): KeyObject {
      return this.#key.publicKey
    }

    override async sign(bytes: Uint8Array): Promise<Uint8Array> {
      return keys.sign(this.#key, bytes)
    }
  }
  return { keys: versions.map((each) => new SigningKey(each)) }
}

function configurationOf(options: TokenServerOptions, jwks: Configuration['jwks']): Configuration {
  return {
    adapter: (model) => adapterOf(model, options),
    jwks,
    clientAuthMethods: ['private_key_jwt', 'tls_client_auth'],
    clientDefaults: {
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
      id_token_signed_response_alg: 'ES256',
    },
    responseTypes: [],
    scopes: [],
    enabledJWA: {
      clientAuthSigningAlgValues: ['EdDSA', 'Ed25519'],
      idTokenSigningAlgValues: ['ES256'],
    },
    ttl: { ClientCredentials: tokenSeconds },
    features: featuresOf(options),
    formats: {
      customizers: {
        jwt: (ctx, token, parts) => {
          const client = 'clientId' in token ? token.clientId : undefined
          const record = findRecord(options, client ?? '')
          // The client has waited since it proved itself, and can have been enrolled again.
          if (record === null || !stillProves(options, ctx, record)) {
            throw new errors.InvalidClient('client is gone')
          }
          const { generation } = record
          parts.payload = { ...parts.payload, sub: spiffeIdOf(options, record), generation }
        },
      },
    },
    assertJwtClientAuthClaimsAndHeader: (_ctx, claims) => spendAssertion(options, claims),
    renderError: (ctx, out) => {
      ctx.type = 'json'
      ctx.body = out
    },
  }
}

function featuresOf(options: TokenServerOptions): Configuration['features'] {
  const disabled = { enabled: false } as const
  return {
    clientCredentials: { enabled: true },
    externalSigningSupport: { enabled: true, ack: 'experimental-01' },
    devInteractions: disabled,
    dPoP: disabled,
    userinfo: disabled,
    rpInitiatedLogout: disabled,
    pushedAuthorizationRequests: disabled,
    resourceIndicators: {
      enabled: true,
      defaultResource: () => options.audience(),
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => {
        // Tokens are for this fabric alone; another audience would be the authority of another
        // party.
        if (resource !== options.audience()) throw new errors.InvalidTarget()
        return {
          scope: requestedScopes(ctx).join(' '),
          audience: options.audience(),
          accessTokenTTL: tokenSeconds,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        }
      },
    },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      tlsClientAuth: true,
      getCertificate: (ctx) => {
        const peer = peerOf(options, ctx)
        return peer === null ? undefined : toPem(peer.leaf)
      },
      certificateAuthorized: (ctx) => peerOf(options, ctx) !== null,
      certificateSubjectMatches: (ctx, property, expected) =>
        property === 'tls_client_auth_san_uri' &&
        peerOf(options, ctx)?.identity.spiffeId === expected,
    },
  }
}

/** Scopes are names of agents and channels: a token narrowed to them reaches nothing else. */
function requestedScopes(ctx: KoaContextWithOIDC): readonly string[] {
  const { scope } = ctx.oidc.params ?? {}
  const scopes = typeof scope === 'string' ? scope.split(' ').filter((each) => each !== '') : []
  if (scopes.length > scopesMax || !scopes.every(isAgentName)) {
    throw new errors.InvalidScope('scopes are names of agents or channels', String(scope))
  }
  return scopes
}

/** The peer of the connection by our own rules, never by the vendor's or Node's. */
function peerOf(
  options: TokenServerOptions,
  ctx: KoaContextWithOIDC,
): { identity: PeerIdentity; leaf: Uint8Array } | null {
  const chain = peerChain(tlsSocketOf(ctx.req))
  const leaf = chain?.[0]
  if (chain === null || leaf === undefined) return null
  const identity = peerIdentity(chain, options.bundles, options.clock.now())
  if (identity instanceof PeerFault || !options.isCurrent(identity)) return null
  return { identity, leaf }
}

/**
 * Reports whether a client's proof holds at this moment: by its signing key, or by its certificate.
 */
function stillProves(
  options: TokenServerOptions,
  ctx: KoaContextWithOIDC,
  { name, keys, status }: AgentRecord,
): boolean {
  const { client } = ctx.oidc
  if (client === undefined || status !== 'active' || keys === null) return false
  if (client.clientId !== name) return peerOf(options, ctx)?.identity.spiffeId === client.clientId
  const { jwks } = client.metadata()
  return jwks?.keys.some(({ kid }) => kid === keys.signing.keyId) === true
}

/** The claims of an assertion whose signature has been verified. */
interface AssertionClaims {
  readonly iss?: unknown
  readonly jti?: unknown
  readonly aud?: unknown
  readonly exp?: unknown
  readonly iat?: unknown
}

/** Accepts each assertion once. The library asks when nothing else is left to check. */
async function spendAssertion(options: TokenServerOptions, claims: AssertionClaims): Promise<void> {
  const issuer = options.issuer()
  const { iss, jti, exp } = claims
  const audience: unknown[] = Array.isArray(claims.aud) ? claims.aud : [claims.aud]
  // One audience, and it is us: an assertion also meant for others could be replayed by them.
  const forUs = audience.length === 1 && [issuer, `${issuer}/token`].includes(String(audience[0]))
  const now = options.clock.now()
  if (!forUs || typeof exp !== 'number' || exp > now / 1000 + assertionSecondsMax) {
    throw new errors.InvalidClient('the assertion is for others or lives too long')
  }
  // Without `iat`, the earliest time at which it would have been accepted.
  const { iat = exp - assertionSecondsMax } = claims
  if (typeof iat !== 'number' || iat * 1000 > now + createdAheadMsMax) {
    throw new errors.InvalidClient('the assertion was issued by a clock that is ahead')
  }
  const isFirst = await options.replayGuard.claim({
    value: `assertion:${JSON.stringify([iss, jti])}`,
    createdAt: iat * 1000,
    windowMs: assertionReplayMs,
  })
  if (!isFirst) throw new errors.InvalidClientAuth('the assertion was used before')
}

/**
 * Clients are the agents of the directory, under two names: by their own name they authenticate
 * with the signing key (`private_key_jwt`), by their SPIFFE ID with the certificate
 * (`tls_client_auth`), which then binds the token.
 */
function clientOf(options: TokenServerOptions, clientId: string): AdapterPayload | undefined {
  const record = findRecord(options, clientId)
  if (!record?.keys || record.status !== 'active') return undefined
  if (clientId !== record.name) {
    return {
      client_id: clientId,
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_san_uri: clientId,
      tls_client_certificate_bound_access_tokens: true,
    }
  }
  const { keyId, publicKey } = record.keys.signing
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: toBase64Url(publicKey), kid: keyId, use: 'sig' }
  return {
    client_id: clientId,
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [jwk] },
  }
}

function findRecord(options: TokenServerOptions, clientId: string): AgentRecord | null {
  if (isAgentName(clientId)) return options.directory.find(clientId)
  const id = parseSpiffeId(clientId)
  if (id === null || id.trustDomain !== options.trustDomain || id.instance !== null) return null
  const record = options.directory.find(id.name)
  return record?.kind === id.kind ? record : null
}

function spiffeIdOf({ trustDomain }: TokenServerOptions, { kind, name }: AgentRecord): string {
  return `spiffe://${trustDomain}/${kind}/${name}`
}

/**
 * Storage for the vendor's library, which keeps nothing. Clients come from the directory, tokens
 * are signed and not stored, and used assertions are in the replay guard already.
 */
function adapterOf(model: string, options: TokenServerOptions): Adapter {
  const none = async (): Promise<undefined> => undefined
  const find = async (id: string): Promise<AdapterPayload | undefined> =>
    model === 'Client' ? clientOf(options, id) : undefined
  return {
    find,
    upsert: none,
    findByUserCode: none,
    findByUid: none,
    consume: none,
    destroy: none,
    revokeByGrantId: none,
  }
}
