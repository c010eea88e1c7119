import type { AgentRecord } from './directory.ts'
import type { Claimed, ClaimPath, IssuerTerms } from './issuers.ts'

type Claims = Readonly<Record<string, unknown>>

/**
 * Returns the properties that the operator's mapping gives to a principal with these claims. A
 * claim that no rule names gives nothing, whatever it is called.
 */
export function claimedBy(
  claims: Claims,
  { roles, segments, attributes }: Pick<IssuerTerms, 'roles' | 'segments' | 'attributes'>,
): Claimed {
  const holds = ({ claim, value }: { readonly claim: ClaimPath; readonly value: string }) =>
    textsAt(claims, claim).includes(value)
  const named = attributes.flatMap(({ name, claim, values }) => {
    const [text, ...others] = textsAt(claims, claim)
    const isAllowed = text !== undefined && others.length === 0 && values.includes(text)
    return isAllowed ? [[name, text] as const] : []
  })
  return {
    roles: [...new Set(roles.filter(holds).map(({ role }) => role))],
    segment: segments.find(holds)?.segment ?? '',
    attributes: Object.fromEntries(named),
  }
}

/** Reads a text, or a list of texts; nothing else has a value. */
function textsAt(claims: Claims, path: ClaimPath): readonly string[] {
  let value: unknown = claims
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return []
    value = (value as Claims)[name]
  }
  const given: readonly unknown[] = Array.isArray(value) ? value : [value]
  return given.filter((each) => typeof each === 'string')
}

/** Returns the properties of a principal now: a record adds roles, and its facts come first. */
export function withRecord(claimed: Claimed, record: AgentRecord | null): Claimed {
  if (record === null) return claimed
  return {
    roles: [...new Set([...claimed.roles, ...record.roles])],
    segment: record.segment === '' ? claimed.segment : record.segment,
    attributes: { ...claimed.attributes, ...record.attributes },
  }
}
