import type { RpcId } from '../../lib/refusal.ts'
import { bareWord, findLookalike, foldedName, isAmbiguousWord } from './folded-name.ts'
import { soundsLikeOperation } from './operations.ts'

const envelopeNames: ReadonlySet<string> = new Set([
  'jsonrpc',
  'method',
  'params',
  'id',
  'result',
  'error',
])
/**
 * Names that decide a request in addition to the method: the tool, prompt or resource, and the
 * member that registers pushes.
 */
const subjectNames: ReadonlySet<string> = new Set(['name', 'uri', 'configuration'])

/** Reports whether `value` is a JSON-RPC message to some reader, a lax one included. */
export function isRpcMessage(value: unknown): value is Readonly<Record<string, unknown>> {
  if (!isRecord(value)) return false
  for (const name in value) {
    const bare = bareWord(name)
    const folded = bare === name ? name : foldedName(name)
    if (bare === 'jsonrpc' || folded === 'jsonrpc') return true
    const isMethod = bare === 'method' || folded === 'method'
    if (isMethod && soundsLikeOperation(asKey(value[name]))) return true
  }
  return false
}

/**
 * Reports whether some reader finds a message in a list, or in a list inside it. Other lists are
 * data.
 */
export function mayBeBatch(list: readonly unknown[]): boolean {
  return list.some((one) => (Array.isArray(one) ? mayBeBatch(one) : isRpcMessage(one)))
}

/** A handler looked up by `handlers[method]` is found by a list of one name as well. */
function asKey(member: unknown): string {
  let inner = member
  while (Array.isArray(inner) && inner.length === 1) inner = inner[0] as unknown
  return typeof inner === 'string' ? inner : ''
}

/**
 * Returns the reason why readers would differ over the operation that `message` requests; null when
 * all of them read it alike.
 */
export function findRpcFault(message: Readonly<Record<string, unknown>>): string | null {
  const { params } = message
  const lookalike =
    findLookalike(message, envelopeNames) ??
    (isRecord(params) ? findLookalike(params, subjectNames) : null)
  if (lookalike !== null) return `some receivers read ${lookalike} as another name`
  if (message['jsonrpc'] !== '2.0') return 'a message of another version than JSON-RPC 2.0'
  if (!('method' in message)) return null
  if (typeof message['method'] !== 'string') return 'the method is not a string'
  if (isAmbiguousWord(message['method'])) return 'the method has characters that some readers drop'
  const isAnswer = 'result' in message || 'error' in message
  return isAnswer ? 'a call and an answer in one message' : null
}

/** As every method of A2A and MCP takes them. */
export function hasNamedParams({ params }: Readonly<Record<string, unknown>>): boolean {
  return params === undefined || params === null || isRecord(params)
}

/**
 * Returns the id for the response to a JSON-RPC call, or to a batch of them, as any reader of JSON
 * finds it; undefined for other values and for notifications.
 */
export function rpcIdOf(value: unknown): RpcId {
  if (Array.isArray(value)) return mayBeBatch(value) ? null : undefined
  return readCall(value)?.id
}

export interface Call {
  readonly message: Readonly<Record<string, unknown>>
  readonly method: string
  readonly params: Readonly<Record<string, unknown>>
  readonly id: RpcId
}

export function readCall(body: unknown): Call | null {
  if (!isRecord(body) || body['jsonrpc'] !== '2.0') return null
  const { method, params, id } = body
  if (typeof method !== 'string') return null
  return { message: body, method, params: isRecord(params) ? params : {}, id: answeredId(id) }
}

/** A number that is not read exactly would be answered as another one: such a refusal has no id. */
function answeredId(id: unknown): RpcId {
  if (typeof id === 'number') return Number.isSafeInteger(id) ? id : null
  return typeof id === 'string' || id === null ? id : undefined
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
