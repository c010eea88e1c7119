import {
  formatContentDigest,
  formatSignedRequestHeaders,
  inputOfBase,
  isAssignableName,
  prepareRequestSignature,
  type SignableRequest,
  type SignedMessage,
  streamedBody,
  toBase64Url,
  unverifiedClaims,
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
import { forwardedHeaders, type Head } from '../../protocols/reading/head.ts'
import { streamedCodec } from '../../protocols/request-streams.ts'
import { reliabilityOf } from '../../routes/routes.ts'
import { readCallerDeadline } from '../http/caller-deadline.ts'
import { PathRoutes } from '../http/path-routes.ts'
import { bearerIn, headIn, type ReceivedRequest } from '../http/received-request.ts'
import type { StreamedRequest } from '../http/request-frames.ts'
import { acceptsBatch, type UnsignedMessage } from './message-signer.ts'
import type { OutboundCall, OutboundOptions, Serving } from './outbound.ts'
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
  /** Its frames are sent as they come, at most once. */
  readonly isStreamed: boolean
}

const paths = new PathRoutes([['* /:agent/**', null]])

/** The codec and bounds of a call that its route permits to be a stream; null for any other. */
export function streamOfOutbound(
  options: Pick<Serving, 'findRoute' | 'viaGateway' | 'places'>,
  head: Head,
): StreamedRequest | null | Refusal {
  const { places } = options
  const [path = ''] = head.path.split('?', 1)
  const name = paths.find(head.method, path)?.segments['agent'] ?? ''
  const route = findOutbound(options, name, delegationIn(head))
  if (route === null) return null
  // The gateway, which knows the protocol of its own route, refuses a stream on any other.
  const known = route.prefix === '' ? route : { ...route, protocol: 'http' as const }
  const codec = streamedCodec(known, head)
  if (codec === null || codec instanceof Refusal) return codec
  return { codec, bounds: reliabilityOf(route).streams, places }
}

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
  const delegation = delegationIn(received.head)
  const route = findOutbound(options, name, delegation)
  if (route === null) return new Refusal('RECEIVER_UNKNOWN', `${name} is not in the directory`)
  const inner = rest || '/'
  const isStreamed = received.frames !== undefined
  const protocol = isStreamed ? 'http' : route.protocol
  const classified = await options.classify(received, inner, protocol)
  if (classified instanceof Refusal) return classified
  const whole = `${inner}${target.slice(path.length)}`
  return { name, inner: whole, route, isStreamed, classified, callerDeadline, delegation }
}

/** Null for an agent that is not in the directory. */
function findOutbound(
  { findRoute, viaGateway }: Pick<OutboundOptions, 'findRoute' | 'viaGateway'>,
  name: string,
  delegation: string | null,
): OutboundRoute | null {
  const direct = findRoute(name)
  return direct === null || delegation === null ? direct : viaGateway(name)
}

/** Any other token proves nothing that the certificate does not, and is left out. */
function delegationIn(head: Head): string | null {
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
  const { head, presented, frames } = received
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
      // The first frame of a stream goes once it was forwarded.
      get body() {
        return received.body
      },
      ...(frames === undefined ? {} : { frames }),
    },
  })
}

/**
 * The request that travels is rebuilt, and signed with the agent's own key, by itself: for the
 * gateway, and for each further copy.
 */
export function signOutbound(
  { agent, random, signer }: OutboundOptions,
  call: OutboundCall,
  received: ReceivedRequest,
  order: OutboundRequest,
): PresentedSignature {
  const unsigned = unsignedOutbound({ agent, random, signer }, call, received, order)
  return presented(unsigned, signer.sign(unsigned))
}

/** As `signOutbound`, together with others where another connector verifies it. */
export async function signFirstOutbound(
  options: OutboundOptions,
  call: OutboundCall,
  received: ReceivedRequest,
  order: OutboundRequest,
): Promise<PresentedSignature> {
  if (order.route.prefix !== '') return signOutbound(options, call, received, order)
  const unsigned = unsignedOutbound(options, call, received, order)
  return presented(unsigned, await options.signer.signInBatch(unsigned))
}

interface UnsignedOutbound extends UnsignedMessage {
  readonly request: SignableRequest
}

function unsignedOutbound(
  { agent, random, signer }: Pick<OutboundOptions, 'agent' | 'random' | 'signer'>,
  call: OutboundCall,
  received: ReceivedRequest,
  { name, inner, route, isStreamed, delegation }: OutboundRequest,
): UnsignedOutbound {
  const headers: [string, string][] = [
    ...forwardedHeaders(received.head),
    ['countersign-to', receiverOf(agent, name)],
  ]
  if (route.prefix === '') headers.push([...acceptsBatch])
  if (delegation !== null) headers.push(['authorization', `Bearer ${delegation}`])
  if (isStreamed) {
    headers.push([...streamedBody])
  } else if (received.body.length > 0) {
    headers.push(['content-digest', formatContentDigest(sha256(received.body))])
  }
  const path = `${route.prefix}${inner}`
  const request = { method: received.head.method, path, authority: '', headers }
  const draft = {
    created: Math.floor(call.at / 1000),
    keyId: signer.keyId,
    nonce: toBase64Url(random(16)),
  }
  const prepare: UnsignedMessage['prepare'] = (alg) =>
    prepareRequestSignature(request, { ...draft, alg })
  return { label: 'caller', request, prepare }
}

function presented({ request }: UnsignedOutbound, signed: SignedMessage): PresentedSignature {
  const fields = formatSignedRequestHeaders('caller', inputOfBase(signed.base), signed.signature)
  return { signed, request: { ...request, headers: [...request.headers, ...fields] } }
}
