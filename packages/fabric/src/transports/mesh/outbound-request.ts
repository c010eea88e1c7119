import {
  formatContentDigest,
  formatSignedRequestHeaders,
  isAssignableName,
  prepareRequestSignature,
  signedMessage,
  toBase64Url,
  unverifiedClaims,
  utf8,
} from '@countersign/protocol'
import type { CallerDeadline } from '../../budgets/deadline.ts'
import { Refusal } from '../../lib/refusal.ts'
import { sha256 } from '../../lib/sha256.ts'
import {
  createUncheckedRequest,
  type PresentedSignature,
  type UncheckedRequest,
} from '../../pipeline/unchecked-request.ts'
import type { Classified } from '../../protocols/classify.ts'
import { forwardedHeaders } from '../../protocols/reading/head.ts'
import { streamFault } from '../../protocols/request-streams.ts'
import { readCallerDeadline } from '../http/caller-deadline.ts'
import { PathRoutes } from '../http/path-routes.ts'
import { bearerIn, headIn, type ReceivedRequest } from '../http/received-request.ts'
import type { OutboundCall, OutboundOptions } from './outbound.ts'
import { type OutboundRoute, receiverOf } from './outbound-answer.ts'

/** One readable call: whom it is for, and what it asks. */
export interface OutboundRequest {
  readonly name: string
  /** Path and query at the receiver. */
  readonly inner: string
  readonly route: OutboundRoute
  readonly classified: Classified
  /** For the gateway: the token that states on whose behalf the agent calls. */
  readonly delegation: string | null
  readonly callerDeadline: CallerDeadline | null
}

const paths = new PathRoutes([['* /:agent/**', null]])

export async function readOutbound(
  options: OutboundOptions,
  received: ReceivedRequest,
): Promise<OutboundRequest | Refusal> {
  const unparsed = received.refused ?? received.fault
  if (unparsed !== null) return unparsed
  const callerDeadline = readCallerDeadline(received.head)
  if (callerDeadline instanceof Refusal) return callerDeadline
  const { path: target } = received.head
  const [path = ''] = target.split('?', 1)
  const { segments, rest = '' } = paths.find(received.head.method, path) ?? {}
  const name = segments?.['agent'] ?? ''
  if (!isAssignableName(name)) return new Refusal('RECEIVER_UNKNOWN', 'the path names no agent')
  const direct = options.findRoute(name)
  if (direct === null) return new Refusal('RECEIVER_UNKNOWN', `${name} is not in the directory`)
  const delegation = delegationIn(received)
  const route = delegation === null ? direct : options.viaGateway(name)
  const streamed = streamFault(route, received.head)
  if (streamed !== null) return streamed
  const inner = rest || '/'
  const classified = await options.classify(received, inner, route.protocol)
  if (classified instanceof Refusal) return classified
  const whole = `${inner}${target.slice(path.length)}`
  return { name, inner: whole, route, classified, callerDeadline, delegation }
}

/** Another token proves nothing that the certificate does not, and is left out as before. */
function delegationIn({ head }: ReceivedRequest): string | null {
  const bearer = bearerIn(head)
  const isDelegation = typeof bearer === 'string' && 'act' in (unverifiedClaims(bearer) ?? {})
  return isDelegation ? bearer : null
}

export function uncheckedOutbound(
  call: OutboundCall,
  received: ReceivedRequest,
  { name, inner, classified }: OutboundRequest,
  signature: PresentedSignature,
): UncheckedRequest {
  const { protocol, operation, tool } = classified
  const { head, presented, body } = received
  return createUncheckedRequest({
    id: call.exchange,
    at: call.at,
    transport: 'mesh',
    presented,
    head: headIn(received),
    // Our own, by which policy sees that the receiver will get a signed request.
    signature,
    left: call.signal,
    target: { kind: 'agent', name, action: 'call', protocol, operation, tool },
    received: {
      method: head.method,
      path: inner,
      headers: [],
      contentType: head.headers.get('content-type') ?? '',
      body,
    },
  })
}

/** The request that travels is rebuilt, and signed with the agent's own key. */
export function signOutbound(
  { agent, random, made }: OutboundOptions,
  call: OutboundCall,
  received: ReceivedRequest,
  { name, inner, route, delegation }: OutboundRequest,
): PresentedSignature {
  const headers: [string, string][] = [
    ...forwardedHeaders(received.head),
    ['countersign-to', receiverOf(agent, name)],
  ]
  if (delegation !== null) headers.push(['authorization', `Bearer ${delegation}`])
  if (received.body.length > 0) {
    headers.push(['content-digest', formatContentDigest(sha256(received.body))])
  }
  const path = `${route.prefix}${inner}`
  const request = { method: received.head.method, path, authority: '', headers }
  const prepared = prepareRequestSignature(request, {
    created: Math.floor(call.at / 1000),
    keyId: agent.signer.keyId,
    nonce: toBase64Url(random(16)),
  })
  const signature = agent.signer.sign(utf8(prepared.base))
  const fields = formatSignedRequestHeaders('caller', prepared.input, signature)
  const signed = signedMessage('caller', prepared, signature)
  made.add(signed)
  return { signed, request: { ...request, headers: [...headers, ...fields] } }
}
