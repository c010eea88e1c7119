import {
  canonicalJson,
  isJsonEssence,
  type JsonValue,
  MalformedError,
  parseMediaType,
  parseUtf8,
  toHex,
  utf8,
} from '@countersign/protocol'
import { sha256 } from '../lib/sha256.ts'
import { type ExactValue, parseExactJson } from './exact-value.ts'

/** The part of a request that states what is to be done. */
export interface ActionContent {
  readonly protocol: string
  readonly operation: string
  readonly contentType: string
  /** As it would leave for the receiver. */
  readonly body: Uint8Array
}

/** JSON beyond this is read in more time than one request may take on the event loop. */
export const ACTION_JSON_BYTES_MAX = 262_144

/** A request that needs an approval has more JSON than a digest is made of. */
export class ActionTooLarge extends Error {}

export interface ContentForm {
  readonly form: JsonValue
  /** A JSON-RPC call of A2A or MCP: its client makes up the id. */
  readonly isCall: boolean
}

/**
 * The content of an action in a form that a digest commits to: JSON by its canonical form, without
 * the ids that a client makes up anew for each attempt, everything else byte by byte. Throws a
 * MalformedError on JSON that readers differ over, and an ActionTooLarge.
 */
export function contentForm(content: ActionContent): ContentForm {
  const { contentType, body } = content
  if (body.length === 0) return { form: null, isCall: false }
  const media = parseMediaType(contentType)
  if (media === null || !isJsonEssence(media.essence)) {
    return { form: { bytes: toHex(sha256(body)) }, isCall: false }
  }
  if (body.length > ACTION_JSON_BYTES_MAX) throw new ActionTooLarge('too much JSON to approve')
  const read = parseExactJson(parseUtf8(body))
  const isCall = isCallOf(content.protocol, read.value)
  const { value, exact } = withoutAttempt(content, read, isCall)
  try {
    const json = toHex(sha256(utf8(canonicalJson(value))))
    const form = { json, exact: exact.map(([path, decimal]) => [[...path], decimal]) }
    return { form, isCall }
  } catch (cause) {
    throw new MalformedError(String(cause))
  }
}

/** Reads the same JSON for people; null where the content is not JSON. */
export function contentValue(content: ActionContent): JsonValue {
  if (content.body.length === 0) return null
  const media = parseMediaType(content.contentType)
  if (media === null || !isJsonEssence(media.essence)) return null
  return parseExactJson(parseUtf8(content.body)).value
}

/** Any other text in these members could be an instruction to a lenient receiver. */
const idText = /^[A-Za-z0-9._:/+=@-]{1,128}$/
const traceparent = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/
const tracestate = /^[a-z0-9_*/@=.:;,~ +-]{0,512}$/i

const isIdText = (value: unknown): boolean => typeof value === 'string' && idText.test(value)
const isToken = (value: unknown): boolean => Number.isSafeInteger(value) || isIdText(value)

/** A member that differs between attempts, and what takes its place; undefined for nothing. */
interface AttemptMember {
  readonly path: readonly string[]
  isAttempt(value: unknown): boolean
  readonly constant?: string
}

/**
 * JSON-RPC 2.0, section 4: the id pairs a response with its call. A constant takes its place, since
 * a call without an id is a notification.
 */
const rpcId: AttemptMember = { path: ['id'], isAttempt: isToken, constant: 'id' }

/** MCP 2025-06-18, `RequestParams`. */
const mcpMembers: readonly AttemptMember[] = [
  { path: ['params', '_meta', 'progressToken'], isAttempt: isToken },
  {
    path: ['params', '_meta', 'traceparent'],
    isAttempt: (value) => typeof value === 'string' && traceparent.test(value),
  },
  {
    path: ['params', '_meta', 'tracestate'],
    isAttempt: (value) => typeof value === 'string' && tracestate.test(value),
  },
  // A client that sends a progress token in one attempt alone would ask for two approvals.
  { path: ['params', '_meta'], isAttempt: (meta) => isObject(meta) && isEmpty(meta) },
]

/** A2A 1.0, section 3.1: the operations that have a message. */
const sends: ReadonlySet<string> = new Set(['SendMessage', 'SendStreamingMessage'])

function messageId(...above: readonly string[]): AttemptMember {
  return { path: [...above, 'message', 'messageId'], isAttempt: isIdText, constant: 'messageId' }
}

/**
 * The members that a client sets anew for each attempt of one action, by their role in its protocol
 * and not by their name. An answer keeps its id, which names the question of the receiver, and a
 * request of A2A's HTTP+JSON binding keeps all but the id of its message: it has no other.
 */
function attemptMembers(
  { protocol, operation }: ActionContent,
  isCall: boolean,
): readonly AttemptMember[] {
  if (protocol === 'mcp') return isCall ? [rpcId, ...mcpMembers] : []
  if (protocol !== 'a2a') return []
  if (!isCall) return sends.has(operation) ? [messageId()] : []
  return sends.has(operation) ? [rpcId, messageId('params')] : [rpcId]
}

/** A message that is a call and an answer at once has no id that is left out. */
function isCallOf(protocol: string, value: JsonValue): boolean {
  if ((protocol !== 'mcp' && protocol !== 'a2a') || !isObject(value)) return false
  const isAnswer = Object.hasOwn(value, 'result') || Object.hasOwn(value, 'error')
  return value['jsonrpc'] === '2.0' && typeof value['method'] === 'string' && !isAnswer
}

function withoutAttempt(content: ActionContent, read: ExactValue, isCall: boolean): ExactValue {
  const { exact } = read
  let { value } = read
  for (const each of attemptMembers(content, isCall)) {
    // A number with more digits than a double is not one of the ids that clients make up.
    if (exact.some(([at]) => isSamePath(at, each.path))) continue
    value = without(value, each.path, each)
  }
  return { value, exact }
}

function isSamePath(a: readonly (string | number)[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each, at) => each === b[at])
}

function without(
  value: JsonValue,
  [name, ...rest]: readonly string[],
  member: AttemptMember,
): JsonValue {
  if (!isObject(value) || name === undefined || !Object.hasOwn(value, name)) return value
  const inner = value[name] ?? null
  if (rest.length > 0) return { ...value, [name]: without(inner, rest, member) }
  if (!member.isAttempt(inner)) return value
  const { [name]: _, ...others } = value
  return member.constant === undefined ? others : { ...others, [name]: member.constant }
}

const isEmpty = (value: object): boolean => Object.keys(value).length === 0

function isObject(value: unknown): value is { readonly [key: string]: JsonValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
