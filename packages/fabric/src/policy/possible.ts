import { isAgentName, isAssignableName, isLegible } from '@countersign/protocol'
import type { PolicyAction, PolicyContext, PolicyRequest } from './policy.ts'
import { RESOURCES_OF_ACTION } from './schema.ts'

export type PolicyProtocol = PolicyContext['protocol']

/** Names of operations that exist, by protocol; `*` at the end stands for any rest. */
export type OperationNames = Readonly<Record<PolicyProtocol, readonly string[]>>

/** One way in which requests of an action come. */
export interface RequestKind {
  readonly transports: readonly PolicyContext['transport'][]
  readonly protocol: PolicyProtocol
  /** Whether the request asks for a task of another, so that `taskOwner` names somebody. */
  readonly ofTask: boolean
}

const kind = (
  protocol: PolicyProtocol,
  transports: RequestKind['transports'],
  ofTask = false,
): RequestKind => ({ protocol, transports, ofTask })

const agents = ['gateway', 'mesh'] as const
const calls = (['a2a', 'mcp', 'http'] as const).map((protocol) => kind(protocol, agents))
const tasks = (['a2a', 'mcp', 'http'] as const).map((protocol) => kind(protocol, agents, true))
const queue = [kind('queue', ['queue'])]
const admin = [kind('admin', ['gateway'])]

/** Every kind of request there is, by what it does, whatever the agents do. */
export const REQUEST_KINDS: Readonly<Record<PolicyAction, readonly RequestKind[]>> = {
  call: calls,
  publish: queue,
  consume: queue,
  record: admin,
  discover: [kind('admin', agents), ...queue, ...calls],
  read: admin,
  // Policy is asked for `administer` as well where a call names a task of another.
  administer: [...admin, ...tasks],
}

/** Seconds up to the year 9999: a larger number is a time in milliseconds. */
export const secondsMax = 253_402_300_799

export function hasTool(protocol: PolicyProtocol): boolean {
  return protocol === 'mcp'
}

export function hasLabels(action: PolicyAction, { protocol }: RequestKind): boolean {
  return protocol === 'queue' && (action === 'publish' || action === 'consume')
}

export function isOperation(name: string, known: readonly string[]): boolean {
  return known.some((each) =>
    each.endsWith('*') ? name.startsWith(each.slice(0, -1)) : each === name,
  )
}

/** The part of a request that no request has, with why; null for one that can come. */
export interface Impossible {
  readonly path: readonly string[]
  readonly says: string
}

/**
 * Why no request like this one can ever come, whatever the agents do. Nobody proves anything by a test
 * about such a request: policy would deny it whatever it says of those that do come.
 */
export function findImpossible(
  request: PolicyRequest,
  operations: OperationNames | null,
): Impossible | null {
  const { principal, action, resource } = request
  const kinds: readonly string[] = RESOURCES_OF_ACTION[action]
  if (!kinds.includes(resource.kind)) {
    return { path: ['resource', 'kind'], says: `${action} is asked of ${kinds.join(', ')}` }
  }
  return (
    faultOfSubject(principal, 'principal') ??
    faultOfSubject(resource, 'resource') ??
    faultOfNumbers(request) ??
    faultOfKind(request, operations)
  )
}

function faultOfSubject(
  subject: PolicyRequest['resource'] | PolicyRequest['principal'],
  part: string,
) {
  const { kind: of, name, roles, segment } = subject
  const isNamed = of === 'fabric' ? name === 'fabric' : isAssignableName(name)
  if (!isNamed) return { path: [part, 'name'], says: `nothing can be called ${quote(name)}` }
  const role = roles.find((each) => !isAgentName(each))
  if (role !== undefined) return { path: [part, 'roles'], says: `no role is called ${quote(role)}` }
  return segment === '' || isAgentName(segment)
    ? null
    : { path: [part, 'segment'], says: `no segment is called ${quote(segment)}` }
}

function faultOfNumbers({ context: { risk, time } }: PolicyRequest): Impossible | null {
  if (!(risk >= 0 && risk <= 100)) {
    return { path: ['context', 'risk'], says: 'risk is 0 to 100' }
  }
  return Number.isSafeInteger(time) && time >= 0 && time <= secondsMax
    ? null
    : { path: ['context', 'time'], says: 'time is in whole seconds since 1970' }
}

function faultOfKind(
  { action, context }: PolicyRequest,
  operations: OperationNames | null,
): Impossible | null {
  const { transport, protocol, operation, tool, labels, taskOwner = '' } = context
  const at = (field: string, says: string): Impossible => ({ path: ['context', field], says })
  const ofProtocol = REQUEST_KINDS[action].filter((each) => each.protocol === protocol)
  if (ofProtocol.length === 0) return at('protocol', `no ${action} comes by ${protocol}`)
  const found = ofProtocol.find(({ transports }) => transports.includes(transport))
  if (found === undefined)
    return at('transport', `no ${action} of ${protocol} comes by ${transport}`)
  if (operations !== null && !isOperation(operation, operations[protocol])) {
    return at('operation', `${protocol} has no operation ${quote(operation)}`)
  }
  if (tool !== '' && (!hasTool(protocol) || !isLegible(tool) || tool !== tool.trim())) {
    return at('tool', `${protocol} has no tool ${quote(tool)}`)
  }
  if (labels.length > 0 && !hasLabels(action, found)) {
    return at('labels', `${action} carries no labels`)
  }
  return taskOwner === '' || found.ofTask ? null : at('taskOwner', `${action} is of no task`)
}

const quote = (text: string): string => JSON.stringify(text)
