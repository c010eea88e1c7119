import {
  isAgentName,
  isAssignableName,
  isLegible,
  isSealedLabel,
  parsePrincipal,
} from '@countersign/protocol'
import type { PolicyAction, PolicyContext, PolicyRequest } from './policy.ts'
import { RESOURCES_OF_ACTION } from './schema.ts'

export type PolicyProtocol = PolicyContext['protocol']
type ResourceKind = PolicyRequest['resource']['kind']

/** The operations that exist, by protocol and action; `*` at the end stands for any rest. */
export interface OperationNames {
  readonly of: Readonly<
    Record<PolicyProtocol, Readonly<Partial<Record<PolicyAction, readonly string[]>>>>
  >
  /** Those that name a tool, a prompt or a resource; all others have an empty `context.tool`. */
  readonly named: readonly string[]
}

/**
 * One kind of request that can come, with what its context can hold. The only list of them:
 * warnings about policies and the check of policy tests read it, and a test compares it with real
 * decisions.
 */
export interface RequestKind {
  readonly action: PolicyAction
  readonly resource: ResourceKind
  readonly transport: PolicyContext['transport']
  readonly protocol: PolicyProtocol
  readonly methods: readonly PolicyContext['method'][]
  /** Null where any text is an operation, because the names are not known. */
  readonly operations: readonly string[] | null
  /** True if the request can name a tool. */
  readonly named: boolean
  /** True if the request is for a task of another principal, which `taskOwner` then names. */
  readonly ofTask: boolean
  /** True if the request can be about a sealed message, and so can have labels. */
  readonly labelled: boolean
}

export const METHODS = ['certificate', 'token', 'api-key'] as const
export const TRANSPORTS = ['gateway', 'mesh', 'queue'] as const
export const PROTOCOLS = ['a2a', 'mcp', 'http', 'queue', 'admin'] as const

/** A connector knows its peers by their certificates only. */
const methodsOf = (transport: PolicyContext['transport']) =>
  transport === 'mesh' ? (['certificate'] as const) : METHODS

type Source = Pick<RequestKind, 'action' | 'resource' | 'protocol' | 'ofTask'>

/** The questions that policy decides about agents, channels and the fabric. */
const sources: readonly Source[] = [
  ...(['a2a', 'mcp', 'http'] as const).flatMap((protocol): readonly Source[] => [
    { action: 'call', resource: 'agent', protocol, ofTask: false },
    // Policy is asked for `administer` as well where a call names a task of another.
    { action: 'administer', resource: 'agent', protocol, ofTask: true },
  ]),
  ...(['publish', 'consume', 'discover'] as const).map(
    (action): Source => ({ action, resource: 'channel', protocol: 'queue', ofTask: false }),
  ),
  ...(['discover', 'record', 'read', 'administer'] as const).map(
    (action): Source => ({ action, resource: 'fabric', protocol: 'admin', ofTask: false }),
  ),
]

function transportsOf({ resource }: Source): readonly PolicyContext['transport'][] {
  if (resource === 'agent') return ['gateway', 'mesh']
  return resource === 'channel' ? ['queue'] : ['gateway']
}

/** Messages are sealed and labelled where they are published and leased. */
const labelled: ReadonlySet<PolicyAction> = new Set(['publish', 'consume'])

/** Every kind of request there is, whatever the agents do. */
export function requestKinds(operations: OperationNames | null): readonly RequestKind[] {
  return sources.flatMap((source) =>
    transportsOf(source).flatMap((transport) =>
      operationsOf(source, operations).map((some) => ({
        ...{ ...source, ...some, transport },
        methods: methodsOf(transport),
        labelled: source.protocol === 'queue' && labelled.has(source.action),
      })),
    ),
  )
}

/** In two where some operations name a tool: the others never come with one. */
function operationsOf(
  { protocol, action }: Source,
  operations: OperationNames | null,
): readonly Pick<RequestKind, 'operations' | 'named'>[] {
  if (operations === null) return [{ operations: null, named: protocol === 'mcp' }]
  const all = operations.of[protocol][action] ?? []
  const isNamed = (name: string) => protocol === 'mcp' && operations.named.includes(name)
  return [true, false]
    .map((named) => ({ operations: all.filter((name) => isNamed(name) === named), named }))
    .filter((each) => each.operations.length > 0)
}

/** Seconds up to the year 9999: a larger number is a time in milliseconds. */
export const secondsMax = 253_402_300_799
/** Longer names of tools are refused before policy is asked. */
export const toolLengthMax = 2048

export function isOperation(name: string, known: readonly string[]): boolean {
  return known.some((each) =>
    each.endsWith('*') ? name.startsWith(each.slice(0, -1)) : each === name,
  )
}

export function isToolName(text: string): boolean {
  return text.length <= toolLengthMax && isLegible(text)
}

/** A principal of another issuer has its canonical form for a name. */
function isForeign(kind: string, name: string): boolean {
  return name.startsWith('https://') && parsePrincipal(name)?.kind === kind
}

/** Of a principal or a resource of this kind. */
export function canBeCalled(kind: PolicyRequest['principal']['kind'] | ResourceKind, name: string) {
  if (kind === 'fabric') return name === 'fabric'
  return isAssignableName(name) || isForeign(kind, name)
}

/** Reports whether a principal of either kind can have this name. */
export function isOwner(name: string): boolean {
  return canBeCalled('agent', name) || canBeCalled('user', name)
}

/** Reports whether a token can let a caller act on behalf of a principal of this name. */
export function isUser(name: string): boolean {
  return isForeign('user', name) || isForeign('agent', name)
}

export function isSegmentName(name: string): boolean {
  return name === '' || isAgentName(name)
}

/** The part of a request that no request has, with why; null for one that can come. */
export interface Impossible {
  readonly path: readonly string[]
  readonly says: string
}

/**
 * Returns the reason why a request like this one can never occur, whatever the agents do. A test
 * about such a request does not prove anything: policy would deny it whatever it decides about
 * requests that do occur.
 */
export function findImpossible(
  request: PolicyRequest,
  operations: OperationNames | null,
): Impossible | null {
  const { principal, action, resource } = request
  const kinds: readonly string[] = RESOURCES_OF_ACTION[action]
  const asked = sources.filter((each) => each.action === action).map((each) => each.resource)
  if (!kinds.includes(resource.kind) || !asked.includes(resource.kind)) {
    const says = `${action} is asked of ${[...new Set(asked)].join(', ')}`
    return { path: ['resource', 'kind'], says }
  }
  return (
    faultOfSubject(principal, 'principal') ??
    faultOfSubject(resource, 'resource') ??
    faultOfNumbers(request) ??
    faultOfKind(request, requestKinds(operations))
  )
}

function faultOfSubject(
  { kind: of, name, roles, segment }: PolicyRequest['resource'] | PolicyRequest['principal'],
  part: string,
) {
  if (!canBeCalled(of, name)) {
    return { path: [part, 'name'], says: `nothing can be called ${quote(name)}` }
  }
  const role = roles.find((each) => !isAgentName(each))
  if (role !== undefined) return { path: [part, 'roles'], says: `no role is called ${quote(role)}` }
  return isSegmentName(segment)
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

/**
 * Each field narrows the kinds that the request can be of; the one that leaves none is the fault.
 */
function faultOfKind(
  { action, resource, context }: PolicyRequest,
  kinds: readonly RequestKind[],
): Impossible | null {
  const {
    transport,
    protocol,
    method,
    operation,
    tool,
    labels,
    taskOwner = '',
    user = '',
  } = context
  const fields: readonly (readonly [string, string, (kind: RequestKind) => boolean])[] = [
    ['protocol', `no ${action} comes by ${protocol}`, (kind) => kind.protocol === protocol],
    [
      'transport',
      `no ${action} of ${protocol} comes by ${transport}`,
      (kind) => kind.transport === transport,
    ],
    ['method', `${transport} knows no ${method}`, (kind) => kind.methods.includes(method)],
    [
      'operation',
      `${protocol} has no operation ${quote(operation)}`,
      (kind) => kind.operations === null || isOperation(operation, kind.operations),
    ],
    [
      'tool',
      `${protocol} has no tool ${quote(tool)}`,
      (kind) => tool === '' || (kind.named && isToolName(tool)),
    ],
    [
      'labels',
      labels.every(isSealedLabel) ? `${action} carries no labels` : 'labels are lower-case words',
      (kind) => labels.length === 0 || (kind.labelled && labels.every(isSealedLabel)),
    ],
    [
      'taskOwner',
      `${action} is of no task of ${quote(taskOwner)}`,
      (kind) => taskOwner === '' || (kind.ofTask && isOwner(taskOwner)),
    ],
    [
      'user',
      `no caller by ${transport} acts for ${quote(user)}`,
      (kind) => user === '' || (kind.transport !== 'mesh' && isUser(user)),
    ],
  ]
  let left = kinds.filter((kind) => kind.action === action && kind.resource === resource.kind)
  for (const [field, says, fits] of fields) {
    left = left.filter(fits)
    if (left.length === 0) return { path: ['context', field], says }
  }
  return null
}

const quote = (text: string): string => JSON.stringify(text)
