import type { PrincipalKey } from '@countersign/protocol'

/** The canonical form of an agent of the trust domain that tests use. */
export function agentKey(name: string): PrincipalKey {
  return `spiffe://a.test/agent/${name}`
}
