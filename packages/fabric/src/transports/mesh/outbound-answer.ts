import { formatSpiffeId, isId, parseMediaType, type SignableRequest } from '@countersign/protocol'
import { Refusal } from '../../lib/refusal.ts'
import type { Authorized } from '../../pipeline/authorize.ts'
import type { Rooms } from '../../pipeline/enforce.ts'
import { cardMediator } from '../http/agent-card.ts'
import { readBodyOf } from '../http/answer-body.ts'
import type { BodyShare } from '../http/body-budget.ts'
import type { FindCard } from '../http/card-content.ts'
import type { Classified } from '../http/classify.ts'
import type { ForwardSigner } from '../http/forward-signature.ts'
import type { Route } from '../http/routes.ts'
import type { UpstreamResponse } from '../http/upstream.ts'
import { checkAnswer } from './answer-check.ts'
import { isBoundTo } from './bound-exchange.ts'

export interface OutboundRoute extends Route {
  /** What stands before the path: empty at a connector, `/agents/<name>` at the gateway. */
  readonly prefix: string
  /** The base URLs that the agent's card may show on this route. */
  readonly cardUrls: readonly string[]
}

export interface AnswerOptions {
  readonly rooms: Pick<Rooms, 'signatures'>
  readonly agent: { readonly signer: ForwardSigner; readonly trustDomain: string }
  /** Where the connector itself listens for its agent. */
  readonly host: string
  readonly port: number
  readonly bodyBytesMax: number
  readonly findCard: FindCard
}

/** The call that is answered, as policy let it through. */
export interface AnsweredCall {
  readonly route: OutboundRoute
  readonly classified: Classified
  readonly admitted: Authorized
}

export interface Answer {
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Uint8Array | AsyncIterable<Uint8Array>
}

const answeredNames: ReadonlySet<string> = new Set([
  'content-type',
  'content-digest',
  'cache-control',
  'countersign-exchange',
  'countersign-receipt',
  'etag',
  'mcp-protocol-version',
  'mcp-session-id',
  'ratelimit',
  'ratelimit-policy',
  'retry-after',
  'a2a-version',
])

/** What the fabric alone says of an exchange; from a receiver it is a statement, read before. */
const fabricNames: ReadonlySet<string> = new Set([
  'countersign-limit',
  'countersign-may-have-acted',
  'countersign-refusal',
  'countersign-stated-by',
  'countersign-withdrawal',
])

export interface ReceivedResponse {
  readonly response: UpstreamResponse
  readonly request: SignableRequest
  /** Where what is held of it is counted. */
  readonly share: BodyShare
}

/** Reads and checks what the receiver's connector, or the gateway for it, answered. */
export async function readAnswer(
  options: AnswerOptions,
  { response, request, share }: ReceivedResponse,
  { route, classified, admitted }: AnsweredCall,
): Promise<Answer | Refusal> {
  const headers = response.headers
    .map(([name, value]): [string, string] => [name.toLowerCase(), value])
    .filter(([name, value]) => passes(name, value, route.prefix !== ''))
  const receiver = receiverOf(options.agent, route.name)
  if (!namesOwnExchange(headers, { route, admitted, receiver })) {
    response.discard()
    return new Refusal('RESPONSE_REJECTED', 'the answer names another exchange')
  }
  const contentType = headers.find(([name]) => name === 'content-type')?.[1] ?? ''
  const media = parseMediaType(contentType)
  if (media === null && contentType !== '') {
    response.discard()
    return new Refusal('RESPONSE_REJECTED', 'the Content-Type can be read in two ways')
  }
  const isStream = media?.essence === 'text/event-stream'
  const body = isStream ? null : await readBodyOf(response, options.bodyBytesMax, share)
  if (body === null && !isStream) {
    return new Refusal('RESPONSE_REJECTED', `it exceeds ${options.bodyBytesMax} bytes`)
  }
  const { status } = response
  const isRequired = isCountersigned({ route, classified, admitted })
  const { signatures } = options.rooms
  const arrived = { response, request, body, isRequired }
  // The gateway has checked what came by it, against the request as it was forwarded; a signature
  // that it hands on covers that request, which is not the one that was signed here.
  const fault = route.prefix === '' ? checkAnswer(signatures, route.name, arrived) : null
  if (fault !== null) {
    response.discard()
    return fault
  }
  const mediate = cardMediator(classified.operation, status)
  const found = mediate === null && body !== null && (await options.findCard(body, route.name))
  if (found instanceof Refusal) return new Refusal('RESPONSE_REJECTED', found.detail)
  if (found) {
    return new Refusal('RESPONSE_REJECTED', 'an agent card that was not asked for leads past us')
  }
  if (mediate === null) return { status, headers, body: body ?? response.body }
  if (body !== null) return rewriteCard(options, { status, headers, body }, { route, mediate })
  response.discard()
  return new Refusal('RESPONSE_REJECTED', 'an agent card in a stream leads past the fabric')
}

export function receiverOf({ trustDomain }: AnswerOptions['agent'], name: string): string {
  return formatSpiffeId({ trustDomain, kind: 'agent', name, instance: null })
}

/**
 * The fabric gives its exchanges itself. A receiver could name one of another call, or of another
 * caller, as the place where this one is on record.
 */
function namesOwnExchange(
  headers: Answer['headers'],
  { route, admitted, receiver }: Pick<AnsweredCall, 'route' | 'admitted'> & { receiver: string },
): boolean {
  if (route.prefix !== '') return true
  const valuesOf = (field: string) =>
    headers.flatMap(([name, value]) => (name === field ? [value] : []))
  const [exchange, ...others] = valuesOf('countersign-exchange')
  const receipts = valuesOf('countersign-receipt')
  if (exchange === undefined) return receipts.length === 0
  const signature = admitted.authenticated.arrival.signature?.signed.signature
  const isOwn = signature !== undefined && isBoundTo(exchange, { signature, receiver })
  return isOwn && others.length === 0 && receipts.every((each) => each === receiptPath(exchange))
}

const receiptPath = (exchange: string): string => `/v1/receipts/${exchange}`

/** What speaks of an exchange has the one form that a fabric gives it. */
function passes(name: string, value: string, isFromFabric: boolean): boolean {
  if (!answeredNames.has(name)) return isFromFabric && fabricNames.has(name)
  if (name === 'countersign-exchange') return isId('dec', value)
  return name !== 'countersign-receipt' || isId('dec', value.replace(/^\/v1\/receipts\//, ''))
}

/**
 * Whether the answer must carry the receiver's own signature as it arrives here. The gateway checks
 * for us what came by it; what was masked or rewritten on the way is no longer what was signed.
 */
function isCountersigned({ route, classified, admitted }: AnsweredCall): boolean {
  const { signedResponse, mask } = admitted.decision.obligations
  const isRewritten = mask.length > 0 || cardMediator(classified.operation, 200) !== null
  return signedResponse && route.prefix === '' && !isRewritten
}

/** The card leads to this very connector, where the agent needs no credential at all. */
function rewriteCard(
  options: AnswerOptions,
  answer: Answer & { readonly body: Uint8Array },
  {
    route: { name, cardUrls },
    mediate,
  }: {
    readonly route: OutboundRoute
    readonly mediate: NonNullable<ReturnType<typeof cardMediator>>
  },
): Answer | Refusal {
  const card = mediate(answer.body, {
    baseUrl: `http://${options.host}:${options.port}/${name}`,
    upstreamUrls: cardUrls,
    signer: options.agent.signer,
    credentialsRequired: false,
  })
  if (card instanceof Refusal) return card
  // What others said of their bytes does not hold for ours.
  const headers = answer.headers.filter(([field]) => !['content-digest', 'etag'].includes(field))
  return { status: answer.status, headers, body: card }
}
