import type { PrincipalKey } from '@countersign/protocol'
import type { AgentRecord, Directory } from './directory.ts'

/**
 * Returns the name that the directory, policy and commands use for a principal: within the trust
 * domain its bare name, which an agent and a user cannot share; the canonical form of any other.
 * The two never meet, since a bare name has no slash. The empty text, of an unknown owner, stays.
 */
export function nameOfPrincipal(principal: string, trustDomain: string): string {
  const own = `spiffe://${trustDomain}/`
  if (!principal.startsWith(own)) return principal
  return principal.slice(principal.indexOf('/', own.length) + 1)
}

/** Reports whether a name of the directory is that of a principal of another issuer. */
export function isForeignName(name: string): name is PrincipalKey {
  return name.includes('/')
}

/** Returns the canonical form of the principal that a record describes. */
export function principalOfRecord(
  { kind, name }: Pick<AgentRecord, 'kind' | 'name'>,
  trustDomain: string,
): PrincipalKey {
  return isForeignName(name) ? name : `spiffe://${trustDomain}/${kind}/${name}`
}

/** Returns the agent of the trust domain that has this name, enrolled or not. */
export function agentPrincipal(name: string, trustDomain: string): PrincipalKey {
  return `spiffe://${trustDomain}/agent/${name}`
}

/** Returns the record of exactly this principal: a user of the same name has another one. */
export function findPrincipal(
  directory: Pick<Directory, 'find'>,
  principal: PrincipalKey,
  trustDomain: string,
): AgentRecord | null {
  const record = directory.find(nameOfPrincipal(principal, trustDomain))
  if (record === null || principalOfRecord(record, trustDomain) !== principal) return null
  return record
}

/** Returns the agent of that name; null for a user, which does not receive. */
export function findAgent(directory: Pick<Directory, 'find'>, name: string): AgentRecord | null {
  const record = directory.find(name)
  return record?.kind === 'agent' ? record : null
}
