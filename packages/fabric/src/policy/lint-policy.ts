import { isAgentName } from '@countersign/protocol'
import {
  asExpression,
  asList,
  type CedarExpression,
  type CedarPolicy,
  type CedarScope,
  findEntityUid,
  operatorOf,
} from './cedar-json.ts'
import { actionsOf, type Conjunct, conjunctsOf, toUid } from './compile-policy.ts'
import { between, type Facts, narrow, oneOf, onlyValueOf } from './condition-facts.ts'
import { formatExpression } from './format-expression.ts'
import { formatEntity } from './frame.ts'
import { POLICY_ACTIONS } from './policy.ts'

/** Names of operations that exist, by protocol; `*` at the end stands for any rest. */
export type OperationNames = readonly string[]

/** Something in a valid policy that cannot mean what its author wrote it for. */
export interface Lint {
  readonly message: string
  readonly help: string
}

/** The values that a request of each action can have, whatever the agents do. */
const transportsOf: Readonly<Record<string, readonly string[]>> = {
  call: ['gateway', 'mesh'],
  publish: ['queue'],
  consume: ['queue'],
  record: ['gateway'],
  discover: ['gateway', 'mesh', 'queue'],
  read: ['gateway'],
  administer: ['gateway'],
}
const protocolsOf: Readonly<Record<string, readonly string[]>> = {
  call: ['a2a', 'mcp', 'http'],
  publish: ['queue'],
  consume: ['queue'],
  record: ['admin'],
  discover: ['admin', 'queue', 'a2a', 'mcp', 'http'],
  read: ['admin'],
  administer: ['admin'],
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
  const lints: Lint[] = [...nameLints(policy), ...operationLints(policy, operations)]
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
  return lints
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

function factsOfScope({ principal, action, resource }: CedarPolicy): Facts {
  const actions = action.op === 'All' ? POLICY_ACTIONS : actionsOf(action)
  const valuesOf = (table: Readonly<Record<string, readonly string[]>>) =>
    oneOf(actions.flatMap((name) => table[name] ?? []).map(quote))
  const facts = new Map([
    ['context.transport', valuesOf(transportsOf)],
    ['context.protocol', valuesOf(protocolsOf)],
    ['context.method', oneOf(methods.map(quote))],
    ['context.risk', between(0, 100)],
    ['context.weekday', between(1, 7)],
    ['context.signed', oneOf(['true', 'false'])],
    ['context.time', between(0, Number.MAX_SAFE_INTEGER)],
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
    const exists =
      type === 'Fabric' ? id === 'fabric' : isAgentName(id) || (type === 'Segment' && id === '')
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
  const compared = policy.conditions.flatMap(({ body }) => operationsIn(body))
  return [...new Set(compared)]
    .filter((name) => !isOperation(name, names))
    .map((name) => ({
      message: `no operation is called ${quote(name)}`,
      help: 'operations are spelt as in docs/policy.md, in capitals and small letters',
    }))
}

function isOperation(name: string, names: OperationNames): boolean {
  return names.some((known) =>
    known.endsWith('*') ? name.startsWith(known.slice(0, -1)) : known === name,
  )
}

const operationText = 'context.operation'

function operationsIn(expression: CedarExpression): readonly string[] {
  const [name, body] = operatorOf(expression)
  const parts = partsOf(body)
  if (name === '==' || name === '!=' || name === 'contains') {
    const texts = parts.map((part) => ({ part, text: formatExpression(part) }))
    if (texts.some(({ text }) => text === operationText)) {
      return texts.flatMap(({ part, text }) => (text === operationText ? [] : textsIn(part)))
    }
  }
  return parts.flatMap(operationsIn)
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
