import { parseSpiffeId } from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import { type DescribedDirectory, DirectoryHistory, isDescribedAs } from './directory-history.ts'
import type { Decision, PolicyRequest, PolicySet } from './policy.ts'
import { PolicyHistory } from './policy-history.ts'
import { readStatedRequest } from './policy-request.ts'
import { isOfPolicy, standingOf, statedCodes } from './stated-codes.ts'

/** The two ends of an exchange as the directory holds them now; null where it does not. */
interface Present {
  findPrincipal(name: string): PolicyRequest['principal'] | null
  findReceiver(kind: 'agent', name: string): PolicyRequest['resource'] | null
}

type Policies = Pick<PolicySet, 'decide'>

interface StatedDecisionDeps {
  readonly present: Present
  readonly history: Pick<DirectoryHistory, 'find'>
  /** The policies of that version, where they were in force lately. */
  findPolicies(version: string): Policies | null
}

interface StatedEntry {
  readonly kind: string
  readonly facts: Readonly<Record<string, unknown>>
}

const decisionFacts = ['policy.version', 'policy.rules', 'private.request'] as const

/** The data that decisions depend on, with its changes. */
interface Stores {
  readonly policy: ConstructorParameters<typeof PolicyHistory>[0]
  readonly identity: { readonly directory: DescribedDirectory }
}

/**
 * Checks the decisions that connectors state, from now on by all policies and principals that
 * change.
 */
export function checkStatedDecisions(
  { policy, identity }: Stores,
  clock: Pick<Clock, 'monotonic'>,
  present: Present,
): (entry: StatedEntry) => string | null {
  const policies = new PolicyHistory(policy, () => clock.monotonic())
  const history = new DirectoryHistory(identity.directory, () => clock.monotonic())
  const deps = { present, history, findPolicies: (version: string) => policies.find(version) }
  return (entry) => statedDecisionFault(entry, deps)
}

/**
 * Returns why the decision that a connector states in an entry is not one of this fabric's
 * policies, or null. The decision is made again from the request that the entry states, by the
 * version that it names. The two ends in that request are as the directory holds them, or held them
 * lately: a connector could make up the roles that the rules ask for, and be given the name of any
 * rule in a receipt.
 */
function statedDecisionFault(entry: StatedEntry, deps: StatedDecisionDeps): string | null {
  const { kind, facts } = entry
  const missing = decisionFacts.filter((name) => !Object.hasOwn(facts, name))
  if (missing.length === decisionFacts.length) return undecidedFault(entry, deps)
  if (missing.length > 0) return `the decision is stated without ${missing.join(' and ')}`
  const request = readStatedRequest(facts)
  if (typeof request === 'string') return request
  if (!isOfMesh(request)) return 'private.request is about what no connector decides'
  const policies = deps.findPolicies(String(facts['policy.version']))
  if (policies === null) return 'policy.version was not in force here lately'
  const decision = policies.decide(request)
  if (decision.policies.join(' ') !== facts['policy.rules']) {
    return 'policy.rules are not what the policies of that version decide by'
  }
  const ends = endsOf(request, deps)
  if (typeof ends === 'string') return ends
  return kind === 'intent'
    ? intentFault(entry, { request, decision, policies, ends }, deps)
    : refusalFault(entry, { request, decision, ends })
}

/**
 * Nothing is delivered by a connector that did not decide, and policy alone refuses by policy. A
 * receiver may state such a code of itself.
 */
function undecidedFault(
  { kind, facts }: StatedEntry,
  { history }: StatedDecisionDeps,
): string | null {
  if (kind === 'intent') return 'an intent states the decision that permits it'
  const { code, result, caller } = facts
  if (result === 'stated') return null
  if (isOfPolicy(code)) return `${String(code)} is stated without a decision`
  const status = standingOf(code)
  if (status === null) return null
  const name = typeof caller === 'string' ? parseSpiffeId(caller)?.name : undefined
  const was = name === undefined ? [] : history.find(name)
  return was.some((each) => each?.status === status)
    ? null
    : `${String(code)} is stated of a caller that was not ${status} lately`
}

/** Calls to agents, by certificate and without labels. No connector has a proof of a user. */
function isOfMesh({ action, resource, context }: PolicyRequest): boolean {
  const isBare = context.method === 'certificate' && context.labels.length === 0
  const isOfNone = [context.taskOwner, context.user].every((name) => (name ?? '') === '')
  return action === 'call' && resource.kind === 'agent' && isBare && isOfNone
}

/** The possible states of the receiver for the connector that decided. */
interface Ends {
  readonly isKnown: boolean
  readonly isUnknown: boolean
}

/** A receiver that is unknown or cut off is stated by its name alone. */
const bare = { roles: [], segment: '', attributes: {} }

function endsOf(
  { principal, resource }: PolicyRequest,
  { history }: StatedDecisionDeps,
): Ends | string {
  const isCaller = history
    .find(principal.name)
    .some((each) => each?.status === 'active' && isDescribedAs(principal, each))
  if (!isCaller) return 'private.request describes a caller that the directory did not hold lately'
  const receivers = history.find(resource.name)
  const isKnown = receivers.some(
    (each) => each?.status === 'active' && isDescribedAs(resource, each),
  )
  const wasUnknown = receivers.some((each) => each?.status !== 'active')
  const isUnknown = wasUnknown && isDescribedAs(resource, bare)
  if (!isKnown && !isUnknown) {
    return 'private.request describes a receiver that the directory did not hold lately'
  }
  return { isKnown, isUnknown }
}

interface Stated {
  readonly request: PolicyRequest
  readonly decision: Decision
  readonly ends: Ends
}

function intentFault(
  { facts }: StatedEntry,
  { request, decision, policies, ends }: Stated & { readonly policies: Policies },
  { present }: StatedDecisionDeps,
): string | null {
  const signed = facts['attested.request'] === 'caller'
  if (request.context.signed !== signed) return 'private.request is about another request'
  if (!ends.isKnown) return 'its receiver was not known lately'
  const met = { signed, isApproved: facts['approval.id'] !== undefined }
  const stated = permitFault(decision, met)
  if (stated !== null) return `the policies of that version ${stated}`
  const principal = present.findPrincipal(request.principal.name)
  const resource = present.findReceiver('agent', request.resource.name)
  if (principal === null || resource === null) {
    return 'its caller or its receiver is unknown or cut off'
  }
  const known = permitFault(policies.decide({ ...request, principal, resource }), met)
  return known === null ? null : `for the caller as the directory holds it, policies ${known}`
}

/** Returns the reason why this decision does not allow a delivery, or null. */
function permitFault(
  { effect, obligations }: Decision,
  { signed, isApproved }: { readonly signed: boolean; readonly isApproved: boolean },
): string | null {
  if (effect !== 'permit') return 'deny it'
  // The record of the approval is asked later whether this exchange has used it.
  if (obligations.approval !== null && !isApproved) return 'ask for an approval, and so refuse it'
  return obligations.signedRequest && !signed ? 'ask for a signature of its caller' : null
}

function refusalFault({ facts }: StatedEntry, { request, decision, ends }: Stated): string | null {
  if (facts['result'] !== undefined) return 'what policy refuses is not sent'
  const codes = statedCodes(decision, { signed: request.context.signed, ...ends })
  return codes.includes(String(facts['code']))
    ? null
    : `${String(facts['code'])} is not what that decision leads to`
}
