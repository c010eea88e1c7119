import type { Caller } from '../../identity/caller.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { Forwarder } from '../../pipeline/delivery.ts'
import { enforce, type PipelineDeps } from '../../pipeline/enforce.ts'
import { readControl } from '../../pipeline/large-bodies.ts'
import { CONTROL_JSON_LIMITS, parseJsonBody } from '../../protocols/reading/json-body.ts'
import { exchangeHeaders, refusalEvent } from '../http/call.ts'
import type { PathRoute } from '../http/path-routes.ts'
import {
  decodedRequest,
  problemReply,
  type RequestContext,
  type Router,
} from './request-context.ts'
import { GATEWAY_WIRE } from './wire.ts'

/** The built-in receiver that administrative requests are delivered to. */
export interface Administration {
  /** Returns the permission that the operation needs, or null if the operation does not exist. */
  actionOf(operation: string): 'read' | 'administer' | null
  /** Facts for the record that name the object and the reason. */
  aboutOf(operation: string, args: unknown): Readonly<Record<string, string>>
  carryOut(
    operation: string,
    args: unknown,
    request: { readonly exchange: string; readonly caller: Caller },
  ): ReturnType<Forwarder>
}

/** `POST /v1/admin`: an ordinary exchange whose receiver is the fabric itself. */
export function adminRoutes(
  deps: PipelineDeps,
  administration: Administration,
): readonly PathRoute<Router>[] {
  return [
    ['POST /v1/admin', adminRouter(deps, administration, readRequest)],
    // One spelling of the one path, so that an outside observer of that path sees every request.
    ['* /v1/admin/**', adminRouter(deps, administration, unknownPath)],
  ]
}

type ReadRequest = (context: RequestContext) => AdminRequest | Refusal

interface AdminRequest {
  readonly operation: string
  readonly args: unknown
}

function adminRouter(
  deps: PipelineDeps,
  administration: Administration,
  read: ReadRequest,
): Router {
  return async (context) => {
    const { client } = context.received
    const request = readControl(deps, client, () => read(context))
    const fault = request instanceof Refusal ? request : null
    const { operation, args } = request instanceof Refusal ? unparsed : request
    const action = administration.actionOf(operation)
    const unknown =
      action === null ? new Refusal('OPERATION_UNKNOWN', `no operation ${operation}`) : null
    const target = {
      kind: 'fabric',
      name: 'fabric',
      action: action ?? 'administer',
      protocol: 'admin',
      operation,
      tool: '',
      about: administration.aboutOf(operation, args),
    } as const
    const decoded = decodedRequest(context, target, fault ?? unknown)
    const forwarder: Forwarder = ({ id, caller }) =>
      administration.carryOut(operation, args, { exchange: id, caller })
    const outcome = await enforce(deps, decoded, forwarder)
    if (outcome.refusal !== null) return problemReply(outcome.refusal, context.exchange)
    const headers: [string, string][] = [
      ...outcome.answer.headers.map(pair),
      ...exchangeHeaders(context.exchange),
    ]
    if (outcome.body instanceof Uint8Array) {
      const { answer, body, still } = outcome
      return { status: answer.status, headers, body, still }
    }
    const wireOf = ({ code }: Refusal) => GATEWAY_WIRE[code]
    const terminalEventsFor = (refusal: Refusal) => [
      refusalEvent(refusal, { exchange: context.exchange, wireOf }),
    ]
    return { status: 200, headers, body: { events: outcome.body, terminalEventsFor } }
  }
}

const unparsed = { operation: 'unread', args: {} }

function pair([name, value]: readonly [string, string]): [string, string] {
  return [name, value]
}

function unknownPath({ received, path }: RequestContext): Refusal {
  return new Refusal('OPERATION_UNKNOWN', `${received.head.method} ${path}`)
}

function readRequest({ received }: RequestContext): AdminRequest | Refusal {
  const value = parseJsonBody(received.body, CONTROL_JSON_LIMITS)
  if (value instanceof Refusal) return value
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return new Refusal('MESSAGE_MALFORMED', 'an object is expected')
  }
  const { operation, args, ...rest } = value as Record<string, unknown>
  if (typeof operation !== 'string' || operation.length > 64 || Object.keys(rest).length > 0) {
    return new Refusal('MESSAGE_MALFORMED', 'operation and args are expected, nothing else')
  }
  return { operation, args: args ?? {} }
}
