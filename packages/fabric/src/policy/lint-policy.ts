import { isAgentName, isAssignableName } from '@countersign/protocol'
import {
  asExpression,
  asList,
  type CedarExpression,
  type CedarPolicy,
  type CedarScope,
  expressionIn,
  findEntityUid,
  operatorOf,
} from './cedar-json.ts'
import { actionsOf, type Conjunct, conjunctsOf, toUid } from './compile-policy.ts'
import {
  between,
  type Facts,
  LABELS,
  narrow,
  noneOf,
  oneOf,
  onlyValueOf,
} from './condition-facts.ts'
import { formatExpression } from './format-expression.ts'
import { formatEntity } from './frame.ts'
import { compilePattern } from './like.ts'
import { POLICY_ACTIONS, type PolicyAction } from './policy.ts'
import {
  hasLabels,
  hasTool,
  isOperation,
  type OperationNames,
  type PolicyProtocol,
  REQUEST_KINDS,
  type RequestKind,
  secondsMax,
} from './possible.ts'

/** Something in a valid policy that cannot mean what its author wrote it for. */
export interface Lint {
  readonly message: string
  readonly help: string
}

const methods = ['certificate', 'token', 'api-key']

const quote = (text: string): string => JSON.stringify(text)

/**
 * What a strict validator does not see: conditions that no request can meet, operations and names
 * that do not exist, and conditions that fail for almost every request, which makes a `forbid` deny
 * all of them. A policy without lints may still be wrong; one with lints is.
 */
export function lintPolicy(
  policy: CedarPolicy,
  operations: OperationNames | null,
): readonly Lint[] {
  const lints: Lint[] = [
    ...nameLints(policy),
    ...textLints(policy),
    ...operationLints(policy, operations),
  ]
  const before = factsOfScope(policy)
  let facts: Facts | null = before
  const earlier: string[] = []
  for (const conjunct of conjunctsOf(policy)) {
    lints.push(...literalLints(policy, conjunct, facts))
    const text = textOf(conjunct)
    const known: Facts = facts
    facts = narrow(known, conjunct.expression, conjunct.holds, (part, holds) => {
      lints.push(deadAlternative(textOf({ expression: part, holds }), text))
    })
    if (facts === null) {
      const isAlone = narrow(before, conjunct.expression, conjunct.holds) === null
      lints.push(impossible(policy, text, isAlone ? [] : earlier))
      break
    }
    earlier.push(text)
  }
  const isPossible =
    facts === null || kindsOf(policy, before, operations).some((each) => meets(policy, each))
  if (!isPossible) lints.push(unmet(policy, earlier))
  return lints
}

function actionNames({ action }: CedarPolicy): readonly PolicyAction[] {
  const named = action.op === 'All' ? POLICY_ACTIONS : actionsOf(action)
  return POLICY_ACTIONS.filter((name) => named.includes(name))
}

/** What is known of each kind of request that the policy's actions take, one by one. */
function kindsOf(
  policy: CedarPolicy,
  facts: Facts,
  operations: OperationNames | null,
): readonly Facts[] {
  return actionNames(policy).flatMap((name) =>
    REQUEST_KINDS[name].map((each) => factsOfKind(facts, { action: name, kind: each }, operations)),
  )
}

function factsOfKind(
  facts: Facts,
  { action, kind }: { readonly action: PolicyAction; readonly kind: RequestKind },
  operations: OperationNames | null,
): Facts {
  const known = new Map(facts)
  known.set('context.protocol', oneOf([quote(kind.protocol)]))
  known.set('context.transport', oneOf(kind.transports.map(quote)))
  if (!hasTool(kind.protocol)) known.set('context.tool', oneOf(['""']))
  if (!hasLabels(action, kind)) known.set(LABELS, oneOf(['[]']))
  if (!kind.ofTask) known.set('context.taskOwner', oneOf(['""']))
  if (operations !== null) known.set(operationText, operationsOf(operations, kind.protocol))
  return known
}

/** Where any rest may follow a name, only what other protocols call an operation is excluded. */
function operationsOf(operations: OperationNames, protocol: PolicyProtocol) {
  const own = operations[protocol]
  if (!own.some((name) => name.endsWith('*'))) return oneOf(own.map(quote))
  const others = Object.values(operations).flat()
  return noneOf(others.filter((name) => !isOperation(name, own)).map(quote))
}

function meets(policy: CedarPolicy, facts: Facts): boolean {
  let known: Facts | null = facts
  for (const { expression, holds } of conjunctsOf(policy)) {
    if (known === null) return false
    known = narrow(known, expression, holds)
  }
  return known !== null
}

function unmet({ effect }: CedarPolicy, conditions: readonly string[]): Lint {
  return {
    message: `this ${effect} never matches: no request meets ${conditions.join(' and ')} for this action`,
    help: 'operations, tools, labels and tasks belong to protocols and actions; docs/policy.md lists them',
  }
}

function textOf({ expression, holds }: Conjunct): string {
  const text = formatExpression(expression)
  return holds ? text : `!(${text})`
}

function impossible(policy: CedarPolicy, text: string, earlier: readonly string[]): Lint {
  const why =
    earlier.length === 0
      ? `no request meets ${text}`
      : `no request meets ${text} together with ${earlier.join(' and ')}`
  return {
    message: `this ${policy.effect} never matches: ${why}`,
    help: 'compare with a value that the request can have; docs/policy.md lists them',
  }
}

function deadAlternative(part: string, whole: string): Lint {
  return {
    message: `no request meets ${part}, one of the alternatives in ${whole}`,
    help: 'remove the alternative, or correct the value it compares with',
  }
}

function factsOfScope(policy: CedarPolicy): Facts {
  const { principal, resource } = policy
  const kinds = actionNames(policy).flatMap((name) => REQUEST_KINDS[name])
  const facts = new Map([
    ['context.transport', oneOf(kinds.flatMap(({ transports }) => transports).map(quote))],
    ['context.protocol', oneOf(kinds.map(({ protocol }) => quote(protocol)))],
    ['context.method', oneOf(methods.map(quote))],
    ['context.risk', between(0, 100)],
    ['context.weekday', between(1, 7)],
    ['context.signed', oneOf(['true', 'false'])],
    ['context.time', between(0, secondsMax)],
    ['context.now', between(0, secondsMax * 1000 + 999)],
    ['context.now.toTime()', between(0, 86_399_999)],
  ])
  for (const [part, scope] of [
    ['principal', principal],
    ['resource', resource],
  ] as const) {
    const uid = scope.entity ?? scope.in?.entity
    if (uid === undefined) continue
    const entity = toUid(uid)
    if (scope.op === '==') facts.set(part, oneOf([formatEntity(entity)]))
    else if (entity.type === 'Segment') facts.set(`${part}.segment`, oneOf([formatEntity(entity)]))
  }
  return facts
}

/** Entities that cannot exist: no agent, channel, role or segment can be given such a name. */
function nameLints(policy: CedarPolicy): readonly Lint[] {
  const scoped = [policy.principal, policy.resource].flatMap(entitiesOf)
  const compared = policy.conditions.flatMap(({ body }) => literalsIn(body))
  return [...scoped, ...compared].flatMap(({ type, id }) => {
    const isGroup = type === 'Role' || type === 'Segment'
    const isName = isGroup
      ? isAgentName(id) || (type === 'Segment' && id === '')
      : isAssignableName(id)
    const exists = type === 'Fabric' ? id === 'fabric' : isName
    if (exists || !namedTypes.has(type)) return []
    const help =
      type === 'Fabric'
        ? 'the fabric is Fabric::"fabric"'
        : 'names have lower-case letters, digits, dot, dash and underscore'
    return [{ message: `${formatEntity({ type, id })} cannot exist`, help }]
  })
}

const namedTypes: ReadonlySet<string> = new Set([
  'Agent',
  'User',
  'Channel',
  'Fabric',
  'Role',
  'Segment',
])

function entitiesOf(scope: CedarScope) {
  const uids = [scope.entity, scope.in?.entity, ...(scope.entities ?? [])]
  return uids.flatMap((uid) => (uid === undefined ? [] : [toUid(uid)]))
}

/** Texts that `context.operation` is compared with, and that are no operation of any protocol. */
function operationLints(policy: CedarPolicy, names: OperationNames | null): readonly Lint[] {
  if (names === null) return []
  const kinds = actionNames(policy).flatMap((name) => REQUEST_KINDS[name])
  const known = kinds.flatMap(({ protocol }) => names[protocol])
  const compared = policy.conditions.flatMap(({ body }) => textsOf(body, operationText))
  const patterns = policy.conditions.flatMap(({ body }) => patternsOf(body, operationText))
  const unmatched = patterns.filter(({ pattern }) => !mayMatch(pattern, known))
  return [
    ...new Set([
      ...compared.filter((name) => !isOperation(name, known)),
      ...unmatched.map(({ text }) => text),
    ]),
  ].map((name) => ({
    message: `no operation is called ${quote(name)}`,
    help: 'operations are spelt as in docs/policy.md, in capitals and small letters',
  }))
}

const operationText = 'context.operation'

/** Texts that `what` is compared with, anywhere in an expression. */
function textsOf(expression: CedarExpression, what: string): readonly string[] {
  const [name, body] = operatorOf(expression)
  const parts = partsOf(body)
  if (name === '==' || name === '!=' || name === 'contains') {
    const texts = parts.map((part) => ({ part, text: formatExpression(part) }))
    if (texts.some(({ text }) => text === what)) {
      return texts.flatMap(({ part, text }) => (text === what ? [] : textsIn(part)))
    }
  }
  return parts.flatMap((part) => textsOf(part, what))
}

interface ComparedPattern {
  readonly pattern: unknown
  readonly text: string
}

function patternsOf(expression: CedarExpression, what: string): readonly ComparedPattern[] {
  const [name, body] = operatorOf(expression)
  if (name === 'like' && formatExpression(expressionIn(body, 'left')) === what) {
    const { pattern } = asExpression(body)
    return [{ pattern, text: partsOfPattern(pattern).join('*') }]
  }
  return partsOf(body).flatMap((part) => patternsOf(part, what))
}

/** The literal parts of a pattern, between its wildcards. */
function partsOfPattern(pattern: unknown): readonly string[] {
  const parts = ['']
  for (const element of Array.isArray(pattern) ? (pattern as unknown[]) : []) {
    const literal =
      typeof element === 'object' && element !== null ? Object.values(element)[0] : null
    if (typeof literal === 'string') parts[parts.length - 1] += literal
    else parts.push('')
  }
  return parts
}

/** Of a name with any rest, only its beginning is known. */
function mayMatch(pattern: unknown, names: readonly string[]): boolean {
  const matches = compilePattern(pattern)
  const [start = ''] = partsOfPattern(pattern)
  return names.some((name) => {
    if (!name.endsWith('*')) return matches(name)
    const known = name.slice(0, -1)
    return start.startsWith(known) || known.startsWith(start)
  })
}

/** Names that no agent, user or channel can have, where one is compared as text. */
function textLints(policy: CedarPolicy): readonly Lint[] {
  const parts = ['principal.name', 'resource.name', 'context.taskOwner']
  const found = policy.conditions.flatMap(({ body }) =>
    parts.flatMap((part) => [
      ...textsOf(body, part).filter(
        (text) =>
          !(text === 'fabric' && part === 'resource.name') &&
          !isAssignableName(text) &&
          text !== '',
      ),
      ...patternsOf(body, part).flatMap(({ pattern, text }) =>
        partsOfPattern(pattern).every((each) => /^[a-z0-9._-]{0,63}$/.test(each)) ? [] : [text],
      ),
    ]),
  )
  return [...new Set(found)].map((text) => ({
    message: `nothing can be called ${quote(text)}`,
    help: 'names have 1 to 63 lower-case letters, digits, dots, dashes and underscores',
  }))
}

function textsIn(expression: CedarExpression): readonly string[] {
  const [name, body] = operatorOf(expression)
  if (name === 'Value') return typeof body === 'string' ? [body] : []
  return name === 'Set' ? partsOf(body).flatMap(textsIn) : []
}

/**
 * Conditions that ask an entity which is spelt out for what only a request carries. Nothing is known
 * of an entity that is neither principal nor resource: its attributes are an error, its tags and
 * memberships false.
 */
function literalLints(
  policy: CedarPolicy,
  { expression }: Conjunct,
  facts: Facts,
): readonly Lint[] {
  return accessesIn(expression).flatMap(({ text, entity, fails }) => {
    const spelt = formatEntity(entity)
    const isKnown = ['principal', 'resource'].some((part) => onlyValueOf(facts, part) === spelt)
    if (isKnown) return []
    const subject = `${text} is known only where ${spelt} is principal or resource`
    const outcome = !fails
      ? 'it is false for every other request'
      : policy.effect === 'forbid'
        ? 'for every other request this forbid fails, and a forbid that fails denies'
        : 'for every other request this permit fails, and permits nothing'
    return [
      {
        message: `${subject}; ${outcome}`,
        help: `ask principal or resource, or put principal == ${spelt} before it`,
      },
    ]
  })
}

interface LiteralAccess {
  readonly text: string
  readonly entity: { readonly type: string; readonly id: string }
  /** An error where nothing is known of the entity; otherwise false. */
  readonly fails: boolean
}

const failing: ReadonlySet<string> = new Set(['.', 'getTag'])
const asking: ReadonlySet<string> = new Set(['.', 'getTag', 'has', 'hasTag', 'in'])

function accessesIn(expression: CedarExpression): readonly LiteralAccess[] {
  const [name, body] = operatorOf(expression)
  const [left, ...others] = partsOf(body)
  const within = [left, ...others].flatMap((part) => (part === undefined ? [] : accessesIn(part)))
  // One error is told once: what is asked of the result of a failing access fails with it.
  if (!asking.has(name) || left === undefined || within.some(({ fails }) => fails)) return within
  const found = entityValuesOf(left).flatMap((entity) =>
    subjectTypes.has(entity.type)
      ? [{ text: formatExpression(expression), entity, fails: failing.has(name) }]
      : [],
  )
  return [...within, ...found]
}

const subjectTypes: ReadonlySet<string> = new Set(['Agent', 'User', 'Channel', 'Fabric'])

/** The spelt-out entities that an expression can give. */
function entityValuesOf(expression: CedarExpression): readonly LiteralAccess['entity'][] {
  const [name, body] = operatorOf(expression)
  if (name === 'Value') {
    const uid = findEntityUid(body)
    return uid === null ? [] : [uid]
  }
  if (name !== 'if-then-else') return []
  const { then: yes, else: no } = asExpression(body)
  return [yes, no].flatMap((branch) => entityValuesOf(asExpression(branch)))
}

function literalsIn(expression: CedarExpression): readonly LiteralAccess['entity'][] {
  const own = entityValuesOf(expression)
  return own.length > 0 ? own : partsOf(operatorOf(expression)[1]).flatMap(literalsIn)
}

/** The expressions directly inside an operator, in order. */
function partsOf(body: unknown): readonly CedarExpression[] {
  const inside = Array.isArray(body)
    ? asList(body)
    : typeof body === 'object' && body !== null && !('__entity' in body)
      ? Object.values(body)
      : []
  return inside.filter(
    (part): part is CedarExpression =>
      typeof part === 'object' && part !== null && !Array.isArray(part) && isOperator(part),
  )
}

function isOperator(part: object): boolean {
  return Object.keys(part).length === 1 && !('Literal' in part)
}
