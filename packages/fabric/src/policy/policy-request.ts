import {
  isAgentName,
  isPrincipalKey,
  type JsonValue,
  parseSpiffeId,
  parseStrictJson,
} from '@countersign/protocol'
import { POLICY_ACTIONS, type PolicyRequest } from './policy.ts'

type Test = (value: unknown) => boolean
/** A member that policy learns to read does not compile without its test. */
type Tests<T> = Readonly<Record<keyof T, Test>>

/** Deeper than any request: its attributes hold plain values. */
const depthMax = 4
const namesMax = 1024

const isText: Test = (value) => typeof value === 'string'
const isFlag: Test = (value) => typeof value === 'boolean'
const isInteger: Test = (value) => Number.isSafeInteger(value)
const oneOf =
  (...values: readonly string[]): Test =>
  (value) =>
    isText(value) && values.includes(value as string)
const listOf =
  (test: Test): Test =>
  (value) =>
    Array.isArray(value) && value.length <= namesMax && value.every(test)

const optional =
  (test: Test): Test =>
  (value) =>
    value === undefined || test(value)

const isAttributes: Test = (value) =>
  isObject(value) &&
  Object.values(value).every((each) => isText(each) || isFlag(each) || isInteger(each))

const party = (...kinds: readonly string[]): Test =>
  shape({
    kind: oneOf(...kinds),
    name: (value) => isAgentName(value) || isPrincipalKey(value),
    roles: listOf(isAgentName),
    segment: (value) => value === '' || isAgentName(value),
    attributes: isAttributes,
  } satisfies Tests<PolicyRequest['principal']>)

const isRequest = shape({
  principal: party('agent', 'user'),
  action: oneOf(...POLICY_ACTIONS),
  resource: party('agent', 'channel', 'fabric'),
  context: shape({
    transport: oneOf('gateway', 'mesh', 'queue'),
    protocol: oneOf('a2a', 'mcp', 'http', 'queue', 'admin'),
    operation: isText,
    tool: isText,
    method: oneOf('certificate', 'token', 'api-key'),
    signed: isFlag,
    risk: (value) => typeof value === 'number' && value >= 0 && value <= 100,
    labels: listOf(isText),
    taskOwner: optional(isText),
    user: optional(isText),
    time: isInteger,
  } satisfies Tests<PolicyRequest['context']>),
} satisfies Tests<PolicyRequest>)

/**
 * Returns the request to policy that an entry holds as text; null for anything else. A ledger may
 * hold bytes that an older fabric accepted from a connector, so only this function parses them.
 */
export function readPolicyRequest(text: string): PolicyRequest | null {
  let value: JsonValue
  try {
    value = parseStrictJson(text, { depthMax })
  } catch {
    return null
  }
  return isRequest(value) ? (value as unknown as PolicyRequest) : null
}

/**
 * The request to policy that an entry holds, or why it is not the one that the entry is about:
 * otherwise `explain` would explain another exchange.
 */
export function readStatedRequest(
  facts: Readonly<Record<string, unknown>>,
): PolicyRequest | string {
  const text = facts['private.request']
  const request = typeof text === 'string' ? readPolicyRequest(text) : null
  if (request === null) return 'private.request is not a request to policy'
  const { principal, resource, context } = request
  const id = typeof facts['caller'] === 'string' ? parseSpiffeId(facts['caller']) : null
  const agrees =
    id?.name === principal.name &&
    id.kind === principal.kind &&
    facts['receiver'] === resource.name &&
    facts['protocol'] === context.protocol &&
    facts['operation'] === context.operation &&
    (facts['tool'] ?? '') === context.tool &&
    context.transport === 'mesh'
  return agrees ? request : 'private.request is about another request'
}

/** An object with these members. A caller is recorded with more, which policy does not read. */
function shape(members: Readonly<Record<string, Test>>): Test {
  const names = Object.keys(members)
  return (value) =>
    isObject(value) && names.every((name) => members[name]?.(ownOf(value, name)) === true)
}

function ownOf(value: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(value, name) ? value[name] : undefined
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
