import type { Clock } from '../lib/clock.ts'
import type { Decision, PolicyRequest, PolicySet } from './policy.ts'
import { PolicyHistory } from './policy-history.ts'
import { readStatedRequest } from './policy-request.ts'

/** The two ends of an exchange as the directory holds them now; null where it does not. */
interface Directory {
  findPrincipal(name: string): PolicyRequest['principal'] | null
  findReceiver(kind: 'agent', name: string): PolicyRequest['resource'] | null
}

type Policies = Pick<PolicySet, 'decide'>

interface StatedDecisionRoom {
  readonly directory: Directory
  /** The policies of that version, where they were in force lately. */
  findPolicies(version: string): Policies | null
}

interface StatedEntry {
  readonly kind: string
  readonly facts: Readonly<Record<string, unknown>>
}

const decisionFacts = ['policy.version', 'policy.rules', 'private.request'] as const

/** Checks the decisions that connectors state, from now on by every set of policies that takes force. */
export function checkStatedDecisions(
  policy: ConstructorParameters<typeof PolicyHistory>[0],
  clock: Pick<Clock, 'monotonic'>,
  directory: Directory,
): (entry: StatedEntry) => string | null {
  const history = new PolicyHistory(policy, () => clock.monotonic())
  const room = { directory, findPolicies: (version: string) => history.find(version) }
  return (entry) => statedDecisionFault(entry, room)
}

/**
 * Returns why the decision that a connector states in an entry is not one of this fabric's policies, or null. The
 * decision is made again from the request that the entry states, by the version that it names. An intent
 * is decided as well on what the directory holds: a connector could make up the roles that its rules ask for.
 */
function statedDecisionFault(
  { kind, facts }: StatedEntry,
  room: StatedDecisionRoom,
): string | null {
  const missing = decisionFacts.filter((name) => !Object.hasOwn(facts, name))
  if (missing.length === decisionFacts.length) return null
  if (missing.length > 0) return `the decision is stated without ${missing.join(' and ')}`
  const request = readStatedRequest(facts)
  if (typeof request === 'string') return request
  if (!isOfMesh(request)) return 'private.request is about what no connector decides'
  const policies = room.findPolicies(String(facts['policy.version']))
  if (policies === null) return 'policy.version was not in force here lately'
  const decision = policies.decide(request)
  if (decision.policies.join(' ') !== facts['policy.rules']) {
    return 'policy.rules are not what the policies of that version decide by'
  }
  if (kind !== 'intent') return null
  const isCall = request.action === 'call'
  const isSigned = facts['attested.request'] === 'caller'
  if (!isCall || request.context.signed !== isSigned)
    return 'private.request is about another request'
  return intentFault(request, decision, policies, room)
}

/** Calls to agents, and tasks of others in them, by certificate and without labels. */
function isOfMesh({ action, resource, context }: PolicyRequest): boolean {
  const isAsked = action === 'call' || action === 'administer'
  const isBare = context.method === 'certificate' && context.labels.length === 0
  return isAsked && resource.kind === 'agent' && isBare
}

function intentFault(
  request: PolicyRequest,
  { effect }: Decision,
  policies: Policies,
  { directory }: StatedDecisionRoom,
): string | null {
  if (effect !== 'permit') return 'the policies of that version deny it'
  const principal = directory.findPrincipal(request.principal.name)
  const resource = directory.findReceiver('agent', request.resource.name)
  if (principal === null || resource === null) {
    return 'its caller or its receiver is unknown or cut off'
  }
  const known = policies.decide({ ...request, principal, resource })
  return known.effect === 'permit'
    ? null
    : 'policy denies it to the caller as the directory holds it'
}
