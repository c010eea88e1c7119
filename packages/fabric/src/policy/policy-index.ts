import type { CedarScope, EntityUid } from './cedar-json.ts'
import { everyTest, type Test } from './closure.ts'
import { actionsOf, type CompiledPolicy, toUid } from './compile-policy.ts'
import { POLICY_ACTIONS, type PolicyAction, type PolicyRequest } from './policy.ts'
import { ENTITY_TYPES } from './schema.ts'
import type { Subject } from './values.ts'

/** A policy with the part of its test that its position in the index does not already imply. */
export interface Candidate {
  readonly policy: CompiledPolicy
  /** Throws `EvaluationError` where Cedar's evaluation fails. */
  readonly matches: Test
}

type Buckets = Map<string, Map<string, Candidate[]>>

/** The policies of one action. Each stands in one place only, under the rarest thing it names. */
interface ActionIndex {
  /** By entity type and id. */
  readonly byResource: Buckets
  readonly byPrincipal: Buckets
  /** By `Role` or `Segment` and its id. */
  readonly byResourceGroup: Buckets
  readonly byPrincipalGroup: Buckets
  readonly others: Candidate[]
}

/**
 * Finds the few policies whose scope may admit a request; what it finds must still be evaluated.
 */
export interface PolicyIndex {
  /** Shows `judge` every policy that could match, each once, in no particular order. */
  candidates(request: PolicyRequest, judge: Judge): void
}

export interface Judge {
  judge(bucket: readonly Candidate[]): void
}

export function createPolicyIndex(policies: readonly CompiledPolicy[]): PolicyIndex {
  const indexes = new Map<PolicyAction, ActionIndex>()
  for (const action of POLICY_ACTIONS) {
    const index: ActionIndex = {
      byResource: new Map(),
      byPrincipal: new Map(),
      byResourceGroup: new Map(),
      byPrincipalGroup: new Map(),
      others: [],
    }
    for (const policy of policies) if (admits(policy.cedar.action, action)) place(policy, index)
    indexes.set(action, index)
  }
  return {
    candidates(request, judge) {
      const index = indexes.get(request.action)
      if (index !== undefined) show(index, request, judge)
    },
  }
}

function admits(scope: CedarScope, action: PolicyAction): boolean {
  return scope.op === 'All' || actionsOf(scope).includes(action)
}

function place(policy: CompiledPolicy, index: ActionIndex): void {
  const resource = namedIn(policy.cedar.resource)
  const principal = namedIn(policy.cedar.principal)
  if (resource !== null && !isGroup(resource)) {
    add(index.byResource, resource, withoutResource(policy))
  } else if (principal !== null && !isGroup(principal)) {
    add(index.byPrincipal, principal, withoutPrincipal(policy))
  } else if (resource !== null) add(index.byResourceGroup, resource, withoutResource(policy))
  else if (principal !== null) add(index.byPrincipalGroup, principal, withoutPrincipal(policy))
  else index.others.push(candidate(policy, policy.principalScope, policy.resourceScope))
}

/** `is T in x` is found by `x` alone, so its type must still be asked for. */
function withoutResource(policy: CompiledPolicy): Candidate {
  const resource = policy.cedar.resource.op === 'is' ? policy.resourceScope : null
  return candidate(policy, policy.principalScope, resource)
}

function withoutPrincipal(policy: CompiledPolicy): Candidate {
  const principal = policy.cedar.principal.op === 'is' ? policy.principalScope : null
  return candidate(policy, principal, policy.resourceScope)
}

function candidate(
  policy: CompiledPolicy,
  principal: Test | null,
  resource: Test | null,
): Candidate {
  const tests = [principal, resource, ...policy.conditions].filter((test) => test !== null)
  return { policy, matches: everyTest(tests) }
}

/** The entity that a scope names: with `==`, `in` or `is … in`. */
function namedIn(scope: CedarScope): EntityUid | null {
  const uid = scope.op === 'is' ? scope.in?.entity : scope.entity
  return uid === undefined ? null : toUid(uid)
}

function isGroup({ type }: EntityUid): boolean {
  return type === 'Role' || type === 'Segment'
}

function add(buckets: Buckets, { type, id }: EntityUid, entry: Candidate): void {
  const byId = buckets.get(type) ?? new Map<string, Candidate[]>()
  buckets.set(type, byId)
  const bucket = byId.get(id) ?? []
  byId.set(id, bucket)
  bucket.push(entry)
}

function show(index: ActionIndex, request: PolicyRequest, judge: Judge): void {
  if (index.others.length > 0) judge.judge(index.others)
  showNamed(index.byResource, request.resource, judge)
  showNamed(index.byPrincipal, request.principal, judge)
  showGroups(index.byResourceGroup, request.resource, judge)
  showGroups(index.byPrincipalGroup, request.principal, judge)
}

function showNamed(buckets: Buckets, subject: Subject, judge: Judge): void {
  const bucket = buckets.get(ENTITY_TYPES[subject.kind])?.get(subject.name)
  if (bucket !== undefined) judge.judge(bucket)
}

function showGroups(buckets: Buckets, subject: Subject, judge: Judge): void {
  const bySegment = buckets.get('Segment')?.get(subject.segment)
  if (bySegment !== undefined) judge.judge(bySegment)
  const byRole = buckets.get('Role')
  if (byRole === undefined) return
  const { roles } = subject
  for (let i = 0; i < roles.length; i++) {
    const role = roles[i] ?? ''
    const bucket = byRole.get(role)
    // A role that is listed twice must not bring its policies twice.
    if (bucket !== undefined && roles.indexOf(role) === i) judge.judge(bucket)
  }
}
