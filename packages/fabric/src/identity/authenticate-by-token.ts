import { hash } from 'node:crypto'
import { parseSpiffeId } from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import { looksLikeApiKey } from './api-keys.ts'
import type { Authentication, Authenticator, Presented } from './caller.ts'
import type { Directory } from './directory.ts'
import { principalOfRecord } from './principals.ts'
import { SignatureChecks } from './signature-checks.ts'
import { callerOf } from './status.ts'
import type { TokenServer, VerifiedToken } from './token-server.ts'

/** Tokens live five minutes; this many agents may use one each before verification is repeated. */
const tokensMax = 10_000

/** A token of ours takes about 600 characters. */
const tokenLengthMax = 4_096
/** Access tokens live five minutes; clocks are corrected a little. */
const knownForMsMax = 10 * 60_000

/** The caller is the agent to which an access token was given (RFC 9068). */
export function authenticateByToken(deps: {
  readonly trustDomain: string
  readonly tokens: TokenServer
  readonly directory: Directory
  readonly clock: Clock
}): Authenticator<Authentication> {
  // By hash, so that a copy of this process's memory holds no token that could be used.
  const verified = new Map<string, VerifiedToken>()
  const checks = new SignatureChecks(deps.clock)

  const verify = async (token: string, network: string): Promise<VerifiedToken | Refusal> => {
    const key = hash('sha256', token, 'base64url')
    const known = verified.get(key)
    const leftMs = (known?.expiresAt ?? 0) - deps.clock.now()
    // One that was verified by a clock ahead is verified again once that is corrected.
    const isGood = known !== undefined && deps.tokens.isAccepted(known.keyId)
    if (isGood && leftMs > 0 && leftMs <= knownForMsMax) return known
    verified.delete(key)
    const answer = await deps.tokens.verify(token, () => checks.take(network))
    if (answer instanceof Refusal) return answer
    if (verified.size >= tokensMax) verified.clear()
    verified.set(key, answer)
    return answer
  }

  const authenticate = async (bearer: string, presented: Presented): Promise<Authentication> => {
    if (bearer.length > tokenLengthMax) {
      return new Refusal('CREDENTIAL_REJECTED', 'the token is too long')
    }
    const token = await verify(bearer, presented.network ?? '')
    if (token instanceof Refusal) return token
    if (!isBoundTo(token, presented)) {
      return new Refusal('CREDENTIAL_REJECTED', 'the token is bound to another certificate')
    }
    const id = parseSpiffeId(token.subject)
    const record = id?.trustDomain === deps.trustDomain ? deps.directory.find(id.name) : null
    if (id === null || record?.kind !== id.kind) {
      return new Refusal('CREDENTIAL_REJECTED', `${token.subject} is not in the directory`)
    }
    // Asked anew for every request: quarantine must not wait for a token to expire.
    return callerOf(record, {
      principal: principalOfRecord(record, deps.trustDomain),
      method: 'token',
      credentialId: token.tokenId,
      scopes: token.scopes,
      expiresAt: token.expiresAt,
      generation: token.generation,
    })
  }

  return (presented) => {
    const { bearer } = presented
    if (bearer === null || looksLikeApiKey(bearer)) return null
    return authenticate(bearer, presented)
  }
}

/** RFC 8705, section 3: a bound token is worth nothing without its certificate. */
function isBoundTo({ thumbprint }: VerifiedToken, { certificateChain }: Presented): boolean {
  if (thumbprint === null) return true
  const leaf = certificateChain?.[0]
  return leaf !== undefined && hash('sha256', leaf, 'base64url') === thumbprint
}
