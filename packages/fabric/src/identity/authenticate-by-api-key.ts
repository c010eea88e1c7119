import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import { type ApiKeys, looksLikeApiKey } from './api-keys.ts'
import type { Authentication, Authenticator, Presented } from './caller.ts'
import type { Directory } from './directory.ts'
import { principalOfRecord } from './principals.ts'
import { callerOf } from './status.ts'

/** The caller is the owner of the API key, in `X-Api-Key` or where a bearer token belongs. */
export function authenticateByApiKey(deps: {
  readonly trustDomain: string
  readonly apiKeys: ApiKeys
  readonly directory: Directory
  readonly clock: Clock
}): Authenticator<Authentication> {
  return (presented) => {
    const text = presentedKey(presented)
    if (text === null || text instanceof Refusal) return text
    const key = deps.apiKeys.find(text)
    if (key === null) return new Refusal('CREDENTIAL_REJECTED', 'no such API key')
    if (deps.clock.now() > key.expiresAt) {
      return new Refusal('CREDENTIAL_EXPIRED', `API key ${key.id} has expired`)
    }
    const record = deps.directory.find(key.owner)
    const owner = record ?? { kind: 'agent', name: key.owner }
    return callerOf(record, {
      principal: principalOfRecord(owner, deps.trustDomain),
      method: 'api-key',
      credentialId: key.id,
      scopes: key.scopes,
      expiresAt: key.expiresAt,
    })
  }
}

function presentedKey({ apiKey, bearer }: Presented): string | Refusal | null {
  const inBearer = bearer !== null && looksLikeApiKey(bearer) ? bearer : null
  if (apiKey !== null && inBearer !== null && apiKey !== inBearer) {
    return new Refusal('CREDENTIALS_CONFLICTING', 'two API keys were presented')
  }
  return apiKey ?? inBearer
}
