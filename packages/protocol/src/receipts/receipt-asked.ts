import { isA2aOperation, isMcpMethod } from '../control/agent-operations.ts'
import {
  encodesQuery,
  isCardPath,
  isExactCardPath,
  isServicePath,
  restOperation,
} from '../control/agent-path.ts'
import { parseSpiffeId } from '../encoding/ids.ts'
import { digestOfNothing, formatContentDigest } from '../signatures/content-digest.ts'

/** The request that an entry states; empty for parts that it does not state. */
export interface AskedClaim {
  readonly transport: string
  readonly protocol: string
  readonly operation: string
  readonly receiver: string
  /** Of the fabric. */
  readonly trustDomain: string
}

/** The parts of a request that a signature covers, as far as they show what was asked. */
interface SignedAsk {
  readonly method: string
  /** Below what names the receiver, as classification reads it. */
  readonly path: string
  readonly hasContent: boolean
}

/**
 * Returns why `values`, the components that the caller signed, contradict the request that the
 * entry states; null where they do not. The path is read by the same functions as when the request
 * was classified, and so a request that was delivered as an operation is verified as that
 * operation.
 */
export function askedFault(values: ReadonlyMap<string, string>, claim: AskedClaim): string | null {
  const method = values.get('"@method"')
  const target = signedPath(values)
  if (method === undefined || target === null) return 'the signature covers no method or no path'
  const path = pathToAgent(target, claim)
  const digest = values.get('"content-digest"')
  const isSafe = method === 'GET' || method === 'HEAD'
  const hasContent = digest !== undefined && digest !== noContent && !isSafe
  return operationFault({ method, path, hasContent }, claim) ?? receiverFault(values, claim)
}

const noContent = formatContentDigest(digestOfNothing)

function signedPath(values: ReadonlyMap<string, string>): string | null {
  const path = values.get('"@path"')
  if (path !== undefined) return path
  const target = /^[a-z]+:\/\/[^/?#]*([^?#]*)/.exec(values.get('"@target-uri"') ?? '')
  return target === null ? null : target[1] || '/'
}

/** The gateway is asked at `/agents/<name>/…`, a connector at the agent's own path. */
function pathToAgent(path: string, { transport, receiver }: AskedClaim): string {
  const prefix = `/agents/${receiver}`
  if (transport !== 'gateway') return path
  if (path === prefix) return '/'
  return path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : path
}

function isOfAgents(protocol: string): boolean {
  return protocol === 'a2a' || protocol === 'mcp' || protocol === 'http'
}

/**
 * Returns why classification never makes this operation of a request with this method, path and
 * content, or null.
 */
function operationFault(asked: SignedAsk, { protocol, operation }: AskedClaim): string | null {
  if (!isOfAgents(protocol)) return null
  const { method, path } = asked
  const isCard = isCardPath(path)
  if (isCard !== (protocol === 'a2a' && operation === 'GetAgentCard')) {
    return `${method} ${path} was signed`
  }
  if (isCard) return method === 'GET' && isExactCardPath(path) ? null : `${method} was signed`
  if (protocol === 'http') return operation === method ? null : `${method} was signed`
  if (encodesQuery(path) || isServicePath(path)) return `${path} was signed`
  return protocol === 'a2a' ? a2aFault(asked, operation) : mcpFault(asked, operation)
}

/** An operation of A2A stands in the path, or else in the content. */
function a2aFault({ method, path, hasContent }: SignedAsk, operation: string): string | null {
  if (!isA2aOperation(operation)) return `A2A has no operation ${operation}`
  const named = restOperation(method, path)
  const isNamed = named?.operation === operation && operation !== 'GetExtendedAgentCard'
  if (isNamed) return null
  if (named?.isCertain === true) return `${named.operation} was signed`
  return hasContent ? null : `${method} was signed without a call`
}

/**
 * MCP over HTTP: a stream to listen on, and the end of a session; everything else is in the
 * content.
 */
const mcpMethodOf: ReadonlyMap<string, string> = new Map([
  ['stream', 'GET'],
  ['session/end', 'DELETE'],
])

function mcpFault({ method, path, hasContent }: SignedAsk, operation: string): string | null {
  const named = restOperation(method, path)
  if (named?.isCertain === true) return `${named.operation} of A2A was signed`
  const only = mcpMethodOf.get(operation)
  if (only !== undefined) return only === method ? null : `${method} was signed`
  if (operation !== 'response' && !isMcpMethod(operation)) return `MCP has no method ${operation}`
  if (operation === 'response' && method !== 'POST') return `${method} was signed`
  return hasContent ? null : `${method} was signed without a call`
}

function receiverFault(
  values: ReadonlyMap<string, string>,
  { receiver, trustDomain }: AskedClaim,
): string | null {
  const to = values.get('"countersign-to"')
  if (to === undefined || to === receiver) return null
  const id = parseSpiffeId(to)
  const isReceiver = id?.trustDomain === trustDomain && id.name === receiver
  return isReceiver && id.instance === null ? null : `the request was signed for ${to}`
}
