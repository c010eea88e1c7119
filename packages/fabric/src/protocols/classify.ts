import {
  a2aOperations,
  encodesQuery,
  isCardPath,
  isExactCardPath,
  isJsonEssence,
  isLegible,
  isMcpMethod,
  isOperationName,
  isServicePath,
  operationLengthMax,
  parseMediaType,
  restOperation,
  wordsLengthMax,
} from '@countersign/protocol'
import { overLimit } from '../lib/limits.ts'
import { Refusal, type RpcId } from '../lib/refusal.ts'
import { readText } from '../pipeline/answer-text.ts'
import { decodeMirrored } from '../pipeline/inspect-fields.ts'
import type { PolicyContext } from '../policy/policy.ts'
import { registersPush, registersPushInForm } from './a2a/push-address.ts'
import { noTasks, type TaskReferences } from './a2a/task-ids.ts'
import {
  isAboutTasks,
  joinTasks,
  tasksOfBody,
  tasksOfCall,
  tasksOfHead,
  tasksOfPath,
} from './a2a/task-references.ts'
import { findMethodOverride } from './http/method-override.ts'
import { knownIn } from './known-references.ts'
import { namesSession } from './mcp/mcp-sessions.ts'
import { isAmbiguousWord } from './reading/folded-name.ts'
import type { Head } from './reading/head.ts'
import { parseJsonBody } from './reading/json-body.ts'
import type { IdFilter } from './reading/known-ids.ts'
import { mayHoldCall } from './reading/lax-call.ts'
import {
  mcpSubjects,
  namesPush,
  obsoleteMethods,
  soundsLikeOperation,
} from './reading/operations.ts'
import { freeWork, STEPS, type Work } from './reading/reading-steps.ts'
import type { RouteProtocol } from './reading/route-protocol.ts'
import {
  type Call,
  findRpcFault,
  hasNamedParams,
  isRpcMessage,
  mayBeBatch,
  readCall,
  rpcIdOf,
} from './reading/rpc-message.ts'

/** The operation that a request calls at its receiver, in the terms of its own protocol. */
export interface Classified {
  readonly protocol: PolicyContext['protocol']
  readonly operation: string
  readonly tool: string
  /** The JSON-RPC id to answer under; undefined where there is none to answer. */
  readonly rpcId: RpcId
  /** Tasks and conversations that the request names, or that its response may create or list. */
  readonly tasks: TaskReferences
}

type Named = Omit<Classified, 'tasks'>

/**
 * Both are recorded with every decision, refused ones and those of unauthenticated clients
 * included.
 */
const methodLimit = { name: 'rpc.methodLength', value: operationLengthMax, unit: 'count' } as const
const subjectLimit = { name: 'rpc.subjectLength', value: wordsLengthMax, unit: 'count' } as const
/** MCP 2026-07-28: the version from which the mirrored headers are part of the protocol. */
const mcpMirroredVersions: ReadonlySet<string> = new Set(['2026-07-28'])

const versionsOfA2a: ReadonlySet<string> = new Set(['', '0.3', '1.0'])

/** The part of a request that names its operation. */
export interface RequestContent {
  readonly head: Head
  readonly body: Uint8Array
}

/** As `classifyRequest`, for bodies of any size. */
export type Classify = (
  /** With the account that the time is charged to. */
  request: RequestContent & { readonly client: string },
  pathInRoute: string,
  protocol: RouteProtocol,
  /** Ids that have an owner; empty where tasks are not guarded. */
  known?: readonly IdFilter[],
) => Classified | Refusal | Promise<Classified | Refusal>

/** Parses the body as what it claims to be, and names the operation. */
export function classifyRequest(
  { head, body }: RequestContent,
  pathInRoute: string,
  protocol: RouteProtocol,
  { known = [], work = freeWork }: ClassifyOptions = {},
): Classified | Refusal {
  const content: Content = { value: undefined }
  const read = readContent({ head, body }, pathInRoute, { protocol, content, work })
  if (protocol === 'http') return read
  if (read instanceof Refusal) return answering(content, read)
  const mentioned = knownIn(head, content.value, { bytes: body, given: known, work })
  if (mentioned instanceof Refusal) return answering(content, mentioned)
  return mentioned.length === 0 ? read : { ...read, tasks: { ...read.tasks, known: mentioned } }
}

/**
 * Returns the refusal with the JSON-RPC id, so that a JSON-RPC client receives it as JSON-RPC, also
 * when its operation has not been named yet.
 */
function answering({ value }: Content, refusal: Refusal): Refusal {
  const { code, detail, retryAfterMs, limit } = refusal
  return new Refusal(code, detail, retryAfterMs, { limit, rpcId: rpcIdOf(value) })
}

interface ClassifyOptions {
  readonly known?: readonly IdFilter[]
  /** Throws `TooMuchWork` where the account has no steps left. */
  readonly work?: Work
}

/** A body once it is read: parsed JSON, or text. */
interface Content {
  value: unknown
}

interface Reading {
  readonly protocol: RouteProtocol
  readonly content: Content
  readonly work: Work
}

function readContent(
  { head, body }: RequestContent,
  pathInRoute: string,
  { protocol, content, work }: Reading,
): Classified | Refusal {
  work.spend(body.length * STEPS.readByte)
  if (body.length === 0) return classify(head, pathInRoute, undefined, { protocol, work })
  const contentType = head.headers.get('content-type')
  const media = contentType === undefined ? null : parseMediaType(contentType)
  if (contentType !== undefined && media === null) {
    return new Refusal('CONTENT_UNSUPPORTED', 'the Content-Type can be read in two ways')
  }
  if (media !== null && isJsonEssence(media.essence)) {
    const parsed = parseJsonBody(body)
    if (parsed instanceof Refusal) return parsed
    content.value = parsed
    const isDisguised =
      typeof parsed === 'string' && protocol !== 'http' && mayHoldCall(parsed, work)
    return isDisguised ? disguised() : classify(head, pathInRoute, parsed, { protocol, work })
  }
  if (protocol !== 'http' && isAboutTasks(head.method, pathInRoute)) {
    return new Refusal('CONTENT_UNSUPPORTED', 'a request about tasks that is not JSON')
  }
  const isForm = media === null || media.essence === 'application/x-www-form-urlencoded'
  // As the receiver gets to read it: what leaves is UTF-8, whatever it came in.
  const text = protocol !== 'http' || isForm ? readText(body, media?.charset ?? null) : ''
  content.value = text
  if (protocol !== 'http' && mayHoldCall(text, work)) return disguised()
  const override = isForm ? findMethodOverride(head, text) : null
  if (override !== null) return overridden(override)
  const classified = classify(head, pathInRoute, undefined, { protocol, work })
  if (classified instanceof Refusal || protocol === 'http') return classified
  if (isForm && registersPushInForm(text)) return pushes()
  const inText = tasksOfBody(text, work)
  if (inText instanceof Refusal) return inText
  return { ...classified, tasks: joinTasks(classified.tasks, inText) }
}

/** Receivers parse whatever comes (Python's `json` looks at no media type). */
function disguised(): Refusal {
  const advice =
    'if its receiver takes such text as plain HTTP, set the protocol of its route to http'
  return new Refusal(
    'CONTENT_UNSUPPORTED',
    `the words of a JSON-RPC call in another notation than strict JSON; ${advice}`,
  )
}

function overridden(name: string): Refusal {
  return new Refusal('MESSAGE_MALFORMED', `${name} asks for another method than the request`)
}

function pushes(): Refusal {
  return new Refusal('OPERATION_UNKNOWN', 'push notifications')
}

/**
 * Names the operation. `body` is the parsed JSON of the request, or undefined where it has none.
 * On a route of a fixed protocol anything unknown is refused; on an `auto` route what is neither
 * A2A nor MCP is plain HTTP, which policy has to permit under that name.
 */
export function classify(
  head: Head,
  pathInRoute: string,
  body: unknown,
  { protocol, work }: Omit<Reading, 'content'>,
): Classified | Refusal {
  const parameters = protocol === 'http' ? '' : parametersOf(head.path)
  if (parameters !== '' && mayHoldCall(parameters, work)) return disguised()
  const override = findMethodOverride(head, body)
  if (override !== null) return overridden(override)
  const named = nameOperation(head, pathInRoute, { body, protocol })
  if (named instanceof Refusal) return named
  const mayPush = protocol !== 'http' && named.protocol !== 'mcp'
  if (mayPush && (registersPush(body) || registersPushInForm(parameters))) return pushes()
  if (mayPush && hasMirrored(head)) {
    return new Refusal('MESSAGE_MALFORMED', 'Mcp-Method, Mcp-Name or Mcp-Param without an MCP call')
  }
  const tasks = protocol === 'http' ? noTasks : readTasks(head, pathInRoute, body, work)
  return tasks instanceof Refusal ? tasks : { ...named, tasks }
}

/** A query, and what some servers take for parameters: behind a semicolon, or an encoded `?`. */
function parametersOf(path: string): string {
  const at = path.search(/[?;]|%(?:25)*3[bf]/i)
  return at < 0 ? '' : path.slice(at + 1)
}

/**
 * By call and by path together: which of the two the receiver goes by is for the receiver to know.
 */
function readTasks(
  head: Head,
  pathInRoute: string,
  body: unknown,
  work: Work,
): TaskReferences | Refusal {
  const call = readCall(body)
  const inCall =
    call === null ? tasksOfBody(body, work) : tasksOfCall(call.method, call.message, work)
  if (inCall instanceof Refusal) return inCall
  const mark = head.path.indexOf('?')
  const inPath = tasksOfPath(
    head.method,
    mark < 0 ? pathInRoute : pathInRoute + head.path.slice(mark),
    body,
  )
  if (inPath instanceof Refusal) return inPath
  const inHead = tasksOfHead(head)
  return inHead instanceof Refusal ? inHead : joinTasks(joinTasks(inCall, inPath), inHead)
}

function nameOperation(
  head: Head,
  pathInRoute: string,
  { body, protocol }: { readonly body: unknown; readonly protocol: RouteProtocol },
): Named | Refusal {
  if (isCardPath(pathInRoute)) return classifyCard(head, pathInRoute, protocol)
  if (protocol === 'http') return plain(head)
  if (encodesQuery(pathInRoute)) {
    return new Refusal('MESSAGE_MALFORMED', 'the path encodes a question mark or a number sign')
  }
  if (isServicePath(pathInRoute)) {
    return new Refusal('OPERATION_UNKNOWN', "the path of a method of A2A's gRPC service")
  }
  // A call that a receiver may interpret differently must not be decided on in either reading.
  const fault = isRpcMessage(body) ? findRpcFault(body) : null
  if (fault !== null) return new Refusal('MESSAGE_MALFORMED', fault)
  const call = readCall(body)
  const byPath = restOperation(head.method, pathInRoute)
  const isRest = byPath !== null && (protocol === 'auto' || byPath.isCertain)
  if (Array.isArray(body) && (protocol !== 'auto' || isRest || mayBeBatch(body))) {
    return new Refusal('MESSAGE_MALFORMED', 'JSON-RPC batches hide calls from each other')
  }
  if (call !== null) {
    // A reader of the signed path, which a receipt shows, would see another operation.
    if (byPath?.isCertain === true) {
      return new Refusal('MESSAGE_MALFORMED', 'the path names one operation, the body another')
    }
    const named = classifyCall(head, call, protocol)
    if (named instanceof Refusal || hasNamedParams(call.message)) return named
    return new Refusal('MESSAGE_MALFORMED', 'parameters by position')
  }
  if (isRest) return classifyRest(head, byPath.operation, protocol)
  if (protocol === 'auto') {
    const session = head.headers.has('mcp-session-id') || head.headers.has('mcp-protocol-version')
    return session ? classifyMcpWithoutCall(head, body) : classifyPlain(head, pathInRoute)
  }
  if (protocol === 'mcp') return classifyMcpWithoutCall(head, body)
  return new Refusal('OPERATION_UNKNOWN', `${head.method} is not an A2A JSON-RPC request`)
}

/** Only the receiver knows which methods, unknown to the fabric, it supports. */
const unknownCall =
  'a JSON-RPC method of neither A2A nor MCP; for a receiver of another protocol, set the protocol of its route to http'

function classifyCall(head: Head, call: Call, protocol: RouteProtocol): Named | Refusal {
  if (call.method.length > operationLengthMax) {
    return overLimit('MESSAGE_TOO_LARGE', methodLimit, `${call.method.length} characters`)
  }
  const a2a = protocol === 'mcp' ? undefined : a2aOperations.get(call.method)
  if (a2a !== undefined) return classifyA2a(head, call, a2a)
  if (namesPush(call.method)) {
    return new Refusal('OPERATION_UNKNOWN', `push notifications: ${call.method}`)
  }
  if (protocol !== 'mcp' && obsoleteMethods.has(call.method)) {
    return new Refusal('OPERATION_UNKNOWN', `a method of A2A before 0.2.2: ${call.method}`)
  }
  if (isMcpMethod(call.method) && protocol !== 'a2a') return classifyMcp(head, call)
  if (protocol === 'auto') {
    return soundsLikeOperation(call.method)
      ? new Refusal('MESSAGE_MALFORMED', 'some receivers read the method as another one')
      : new Refusal('OPERATION_UNKNOWN', unknownCall)
  }
  return new Refusal('OPERATION_UNKNOWN', `${protocol} method ${call.method}`)
}

/** A receiver that knows another spelling of the path would hand out a card that leads past us. */
function classifyCard(head: Head, pathInRoute: string, protocol: RouteProtocol): Named | Refusal {
  if (!isExactCardPath(pathInRoute)) {
    return new Refusal('MESSAGE_MALFORMED', 'another spelling of the path of an agent card')
  }
  if (head.method !== 'GET' || protocol === 'mcp') {
    return new Refusal('OPERATION_UNKNOWN', `${head.method} of an agent card`)
  }
  return { protocol: 'a2a', operation: 'GetAgentCard', tool: '', rpcId: undefined }
}

/** A2A's HTTP+JSON binding: decided on as the operation that the receiver carries out. */
function classifyRest(head: Head, operation: string, protocol: RouteProtocol): Named | Refusal {
  if (protocol !== 'auto') {
    const detail = `${operation} by its path, on a route of ${protocol} alone`
    return new Refusal('OPERATION_UNKNOWN', detail)
  }
  const version = head.headers.get('a2a-version') ?? ''
  if (!versionsOfA2a.has(version)) {
    return new Refusal('VERSION_UNSUPPORTED', `A2A-Version ${version}`)
  }
  if (operation === 'GetExtendedAgentCard') {
    return new Refusal('OPERATION_UNKNOWN', 'an extended agent card over plain HTTP')
  }
  return { protocol: 'a2a', operation, tool: '', rpcId: undefined }
}

/** On an `auto` route the receiver may also support A2A over plain HTTP, pushes included. */
function classifyPlain(head: Head, pathInRoute: string): Named | Refusal {
  if (namesPush(decoded(pathInRoute))) {
    return pushes()
  }
  return plain(head)
}

/**
 * Reports whether the head holds the fields that mirror an MCP call for intermediaries that do not
 * read the body.
 */
function hasMirrored(head: Head): boolean {
  for (const name of head.headers.keys()) {
    if (name === 'mcp-method' || name === 'mcp-name' || name.startsWith('mcp-param-')) return true
  }
  return false
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    // Nor does a receiver decode it.
    return path
  }
}

function plain(head: Head): Named {
  return { protocol: 'http', operation: head.method, tool: '', rpcId: undefined }
}

function classifyA2a(head: Head, call: Call, operation: string): Named | Refusal {
  const version = head.headers.get('a2a-version') ?? ''
  if (!versionsOfA2a.has(version)) {
    return new Refusal('VERSION_UNSUPPORTED', `A2A-Version ${version}`)
  }
  return { protocol: 'a2a', operation, tool: '', rpcId: call.id }
}

function classifyMcp(head: Head, call: Call): Named | Refusal {
  if (namesSession(head)) return twoEndpoints()
  const subject = mcpSubjects.get(call.method)
  const tool = subject === undefined ? '' : call.params[subject]
  if (typeof tool !== 'string') {
    return new Refusal('MESSAGE_MALFORMED', `${call.method} without ${subject ?? ''}`)
  }
  if (tool.length > wordsLengthMax) {
    const detail = `${call.method} of ${tool.length} characters`
    return overLimit('MESSAGE_TOO_LARGE', subjectLimit, detail)
  }
  if (isAmbiguousWord(tool)) {
    return new Refusal('MESSAGE_MALFORMED', 'a name with characters that some readers drop')
  }
  // Both are recorded and shown to people: blanks, controls and directions could imitate other
  // lines.
  if (!isOperationName(call.method) || !isLegible(tool)) {
    return new Refusal('MESSAGE_MALFORMED', 'a name with characters that are not shown as they are')
  }
  const declared = head.headers.get('mcp-method')
  const mirrored = head.headers.get('mcp-name')
  const version = head.headers.get('mcp-protocol-version') ?? ''
  // An intermediary decides by these headers, and the receiver need not compare them with the body.
  if (declared !== undefined && declared !== call.method) {
    return new Refusal('MESSAGE_MALFORMED', 'Mcp-Method differs from the method in the body')
  }
  const mirrorable = subject === undefined ? call.params['taskId'] : tool
  if (mirrored !== undefined && decodeMirrored(mirrored) !== (mirrorable ?? '')) {
    return new Refusal('MESSAGE_MALFORMED', 'Mcp-Name differs from the name in the body')
  }
  if (mcpMirroredVersions.has(version) && declared === undefined) {
    return new Refusal('MESSAGE_MALFORMED', `Mcp-Method is missing, which ${version} requires`)
  }
  return { protocol: 'mcp', operation: call.method, tool, rpcId: call.id }
}

function twoEndpoints(): Refusal {
  const advice = 'use Streamable HTTP (MCP 2025-03-26 or later)'
  return new Refusal('OPERATION_UNKNOWN', `the HTTP+SSE transport of MCP 2024-11-05: ${advice}`)
}

/** A stream to listen on, the end of a session, or an answer to what the server asked. */
function classifyMcpWithoutCall(head: Head, body: unknown): Named | Refusal {
  if (hasMirrored(head)) {
    return new Refusal('MESSAGE_MALFORMED', 'Mcp-Method, Mcp-Name or Mcp-Param without a call')
  }
  const make = (operation: string): Named => ({
    protocol: 'mcp',
    operation,
    tool: '',
    rpcId: undefined,
  })
  if (head.method === 'GET' && body === undefined) return make('stream')
  if (head.method === 'DELETE' && body === undefined) return make('session/end')
  if (namesSession(head)) return twoEndpoints()
  const isAnswer = isRpcMessage(body) && ('result' in body || 'error' in body)
  if (head.method === 'POST' && isAnswer) return make('response')
  return new Refusal('OPERATION_UNKNOWN', `${head.method} is not an MCP request`)
}
