import { isAssignableName, parsePrincipal, parseSpiffeId } from '@countersign/protocol'
import type { EntryDraft } from './ledger.ts'

/** A principal as an entry names it. */
export interface NamedSubject {
  /** The canonical name, `subjectName`. */
  readonly name: string
  /**
   * Set where the client could have made the name up: it counts as a subject only if it is one, or
   * if the directory knows it.
   */
  readonly isClaimed: boolean
}

/**
 * The one name of a subject: the bare name for a principal of `trustDomain`, whose names are unique
 * across its kinds, and the canonical form for one of another issuer. Null for a value that names
 * no principal: the fabric itself, or a receiver that could not be read.
 */
export function subjectName(value: string, trustDomain: string): string | null {
  const id = parseSpiffeId(value)
  if (id === null) return isAssignableName(value) || parsePrincipal(value) !== null ? value : null
  const { kind, name } = id
  if (kind === 'fabric') return null
  if (id.trustDomain !== trustDomain) return `spiffe://${id.trustDomain}/${kind}/${name}`
  return isAssignableName(name) ? name : null
}

/** The trust domain of a log, whose origin begins with it. */
export function trustDomainOf(origin: string): string {
  return origin.split('/', 1)[0] ?? ''
}

/** Returns who vouches for a subject of that name: the client that its share counts against. */
export function issuerOf(name: string): string {
  return parsePrincipal(name)?.issuer ?? ''
}

/** Facts that name a principal, whatever the entry is about. */
const principalFacts = ['caller', 'caller.user', 'agent', 'producer', 'approval.approver'] as const

/** Calls `add` with the value of each fact that names a principal. */
export function visitSubjects(
  { kind, facts }: Pick<EntryDraft, 'kind' | 'facts'>,
  add: (value: string, isClaimed: boolean) => void,
): void {
  for (const fact of principalFacts) {
    const value = facts[fact]
    if (typeof value !== 'string' || value === '') continue
    // A refusal without a method names a caller that did not prove that it is the one.
    const isProven = kind !== 'refusal' || fact !== 'caller' || facts['caller.method'] !== undefined
    add(value, !isProven)
  }
  const { protocol, receiver, object, operation } = facts
  // A channel, or the fabric itself, is not a principal.
  const isToAgent = protocol !== 'queue' && protocol !== 'admin'
  if (isToAgent && typeof receiver === 'string') add(receiver, kind === 'refusal')
  if (typeof object !== 'string' || typeof operation !== 'string') return
  if (naming.has(operation)) add(object, kind === 'refusal')
  else if (operation.startsWith('agent.')) add(object, true)
}

/** Administrative operations whose object is a principal that may not be known before. */
const naming: ReadonlySet<string> = new Set(['agent.enroll', 'key.create'])
