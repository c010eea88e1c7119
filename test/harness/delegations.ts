import { principalKey } from '@countersign/protocol'
import { agentId, type Draft } from './doors.ts'
import { issuerAudience, issuerUrl, openTestIssuer, type TestIssuer } from './issuer.ts'

/** The canonical form of a user of the test issuer. */
export const userKey = (subject: string) =>
  principalKey({ kind: 'user', issuer: issuerUrl, subject })

/** An issuer whose group `approvers` may decide on approvals, as `identity.issuers` states it. */
export interface Delegating {
  readonly issuer: TestIssuer
  readonly terms: object
}

export async function openDelegating(): Promise<Delegating> {
  const issuer = await openTestIssuer()
  const terms = {
    ...{ issuer: issuerUrl, audience: issuerAudience, kind: 'user', keyFile: issuer.keyFile },
    roles: [
      { claim: 'groups', value: 'approvers', role: 'approver' },
      { claim: 'groups', value: 'callers', role: 'caller' },
    ],
  }
  return { issuer, terms }
}

export const bearing = (token: string): Pick<Draft, 'headers'> => ({
  headers: [['Authorization', `Bearer ${token}`]],
})

/** The token by which `actor` acts for `user` (RFC 8693, section 4.1). */
export function delegationOf(
  { issuer }: Delegating,
  { user, actor, ...changes }: { readonly user: string; readonly actor: string; now?: number },
): Promise<string> {
  return issuer.token({ sub: user, act: { sub: agentId(actor) } }, changes)
}
