import { formatSpiffeId, isExchangeId, type SignableRequest } from '@countersign/protocol'
import type { BodyShare } from '../../budgets/body-budget.ts'
import { Refusal } from '../../lib/refusal.ts'
import { sha256 } from '../../lib/sha256.ts'
import type { Authorized } from '../../pipeline/authorize.ts'
import type { PipelineDeps } from '../../pipeline/enforce.ts'
import type { Exchange } from '../../pipeline/exchange.ts'
import type { FrameCodec } from '../../pipeline/frames.ts'
import { withoutForeignDigest } from '../../pipeline/inspect-fields.ts'
import { accountOfAnswer } from '../../pipeline/large-bodies.ts'
import { cardMediator } from '../../protocols/a2a/agent-card.ts'
import type { ReadKind } from '../../protocols/a2a/card-content.ts'
import { cardRefusal, readContent } from '../../protocols/answer-content.ts'
import type { Classified } from '../../protocols/classify.ts'
import { answeringCodec } from '../../protocols/request-streams.ts'
import type { Route } from '../../routes/routes.ts'
import type { UpstreamResponse } from '../../routes/upstream.ts'
import { readBodyOf } from '../http/answer-body.ts'
import type { KeySigner } from '../http/forward-signature.ts'
import {
  fabricFields,
  receiverFields,
  recordFields,
  signatureFields,
} from '../http/response-fields.ts'
import { type ResponseHead, readResponseHead } from '../http/response-head.ts'
import { unknownEndField } from '../http/unknown-end.ts'
import { checkAnswer } from './answer-check.ts'
import { isBoundTo } from './bound-exchange.ts'

export interface OutboundRoute extends Route {
  /** The prefix of the path: empty at a connector, `/agents/<name>` at the gateway. */
  readonly prefix: string
  /** The base URLs that the agent's card may show on this route. */
  readonly cardUrls: readonly string[]
}

export interface AnswerOptions {
  readonly deps: Pick<PipelineDeps, 'signatures'>
  readonly agent: { readonly signer: KeySigner; readonly trustDomain: string }
  /** The host on which the connector itself listens for its agent. */
  readonly host: string
  readonly port: number
  readonly bodyBytesMax: number
  readonly readKind: ReadKind
}

/** The call that is answered, as policy let it through. */
export interface AnsweredCall {
  readonly route: OutboundRoute
  readonly classified: Classified
  readonly admitted: Exchange<Authorized>
  /** Its request was one of frames, and so may its answer be. */
  readonly isStreamed?: boolean
  /** Of the copy that is answered, where it is not that of the exchange. */
  readonly signature?: Uint8Array
}

export interface Answer {
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Uint8Array | AsyncIterable<Uint8Array>
  /** Of a body whose parts are other frames than events; null of any other. */
  readonly codec: FrameCodec | null
}

export interface ReceivedResponse {
  readonly response: UpstreamResponse
  readonly request: SignableRequest
  /** Counts the bytes held of it. */
  readonly share: BodyShare
}

/**
 * The fields of each head that are judged: more than those that pass, since a signature may cover
 * the rest.
 */
const names: ReadonlySet<string> = new Set([
  ...receiverFields,
  ...signatureFields,
  ...recordFields,
  ...fabricFields,
])

/** Reads and checks what the receiver's connector, or the gateway for it, answered. */
export async function readAnswer(
  options: AnswerOptions,
  { response, request, share }: ReceivedResponse,
  call: AnsweredCall,
): Promise<Answer | Refusal> {
  const { route } = call
  const isFabrics = route.prefix !== '' && isRefusal(response)
  const head = judge(options, readResponseHead(response, { names, isFabrics }), call)
  if (head instanceof Refusal) {
    response.discard()
    return head
  }
  const codec = call.isStreamed === true ? answeringCodec(route, head.contentType) : null
  if (codec instanceof Refusal) {
    response.discard()
    return codec
  }
  const isStream = head.isStream || codec !== null
  const body = isStream ? null : await readBodyOf(response, options.bodyBytesMax, share)
  if (body instanceof Refusal) return body
  const isRequired = isCountersigned(call)
  const { signatures } = options.deps
  const arrived = { head, request, body, isRequired }
  // The gateway has checked what came by it, against the request as it was forwarded; a signature
  // that it hands on covers that request, which is not the one that was signed here.
  const fault = route.prefix === '' ? checkAnswer(signatures, route.name, arrived) : null
  const answer =
    fault ?? (await toAnswer(options, { head, body, codec, stream: response.body }, call))
  if (answer instanceof Refusal) response.discard()
  return answer
}

function isRefusal({ headers }: UpstreamResponse): boolean {
  return headers.some(([name]) => name.toLowerCase() === 'countersign-refusal')
}

function judge(
  { agent }: AnswerOptions,
  head: ResponseHead | Refusal,
  call: AnsweredCall,
): ResponseHead | Refusal {
  if (head instanceof Refusal) return head
  const { route } = call
  const receiver = receiverOf(agent, route.name)
  if (namesOwnExchange(passing(head, route), { ...call, receiver })) return head
  return new Refusal('RESPONSE_REJECTED', 'the answer names another exchange')
}

/** Those fields of the judged head that the agent gets. */
function passing({ headers }: ResponseHead, { prefix }: OutboundRoute): ResponseHead['headers'] {
  return headers.filter(([name, value]) => passes(name, value, prefix !== ''))
}

async function toAnswer(
  options: AnswerOptions,
  { head, body, codec, stream }: Received,
  { route, classified, admitted }: AnsweredCall,
): Promise<Answer | Refusal> {
  const { status, contentType } = head
  const headers = withOwnDigest(passing(head, route), body, route)
  const mediate = cardMediator(classified.operation, status)
  if (mediate !== null) {
    if (body === null) return cardRefusal('in a stream')
    return rewriteCard(options, { status, headers, body, codec }, { route, mediate })
  }
  if (body === null) return { status, headers, body: stream, codec }
  const account = accountOfAnswer(admitted)
  const source = { readKind: options.readKind, route, account }
  const kind = await readContent(body, contentType, source)
  if (kind instanceof Refusal) return kind
  // Both the gateway and an honest connector have put it into UTF-8, and its content type states
  // that.
  if (kind === 'decoded')
    return new Refusal('RESPONSE_REJECTED', 'text in another charset than UTF-8')
  return { status, headers, body, codec }
}

/** The gateway has checked the digest of what came by it. */
function withOwnDigest(
  headers: ResponseHead['headers'],
  body: Uint8Array | null,
  { prefix }: OutboundRoute,
): ResponseHead['headers'] {
  if (prefix !== '' || !headers.some(([name]) => name === 'content-digest')) return headers
  return withoutForeignDigest(headers, body === null ? null : sha256(body))
}

interface Received {
  readonly head: ResponseHead
  /** Null for a stream. */
  readonly body: Uint8Array | null
  readonly codec: FrameCodec | null
  readonly stream: AsyncIterable<Uint8Array>
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
  { route, admitted, receiver, ...call }: Omit<AnsweredCall, 'classified'> & { receiver: string },
): boolean {
  if (route.prefix !== '') return true
  const valuesOf = (field: string) =>
    headers.flatMap(([name, value]) => (name === field ? [value] : []))
  const [exchange, ...others] = valuesOf('countersign-exchange')
  const receipts = valuesOf('countersign-receipt')
  if (exchange === undefined) return receipts.length === 0
  const signature = call.signature ?? admitted.signature?.signed.signature
  const isOwn = signature !== undefined && isBoundTo(exchange, { signature, receiver })
  return isOwn && others.length === 0 && receipts.every((each) => each === receiptPath(exchange))
}

const receiptPath = (exchange: string): string => `/v1/receipts/${exchange}`

/** A field about an exchange passes only in the one form that a fabric gives it. */
function passes(name: string, value: string, isFromFabric: boolean): boolean {
  if (receiverFields.has(name)) return true
  if (!recordFields.has(name)) return isFromFabric && fabricFields.has(name)
  if (name === 'countersign-exchange') return isExchangeId(value)
  if (name === unknownEndField[0]) return value === unknownEndField[1]
  return isExchangeId(value.replace(/^\/v1\/receipts\//, ''))
}

/**
 * Reports whether the answer must carry the receiver's own signature as it arrives here. The
 * gateway checks for us the answers that came by it; an answer that was masked or rewritten on the
 * way is not the one that was signed.
 */
function isCountersigned({ route, classified, admitted }: AnsweredCall): boolean {
  const { signedResponse, mask } = admitted.decision.obligations
  const isRewritten = mask.length > 0 || cardMediator(classified.operation, 200) !== null
  return signedResponse && route.prefix === '' && !isRewritten
}

const ofOtherBytes: ReadonlySet<string> = new Set([
  'cache-control',
  'content-digest',
  'content-type',
  'etag',
])

/** The card leads to this very connector, where the agent needs no credential at all. */
function rewriteCard(
  options: AnswerOptions,
  answer: Answer & { readonly body: Uint8Array },
  {
    route: { name, cardUrls, protocol },
    mediate,
  }: {
    readonly route: OutboundRoute
    readonly mediate: NonNullable<ReturnType<typeof cardMediator>>
  },
): Answer | Refusal {
  const card = mediate(answer.body, {
    baseUrl: `http://${options.host}:${options.port}/${name}`,
    upstreamUrls: cardUrls,
    protocol,
    signer: options.agent.signer,
    credentialsRequired: false,
  })
  if (card instanceof Refusal) return card
  // Fields that describe the receiver's bytes do not hold for ours.
  const kept = answer.headers.filter(([field]) => !ofOtherBytes.has(field))
  const headers = [
    ...kept,
    ['content-type', 'application/json'] as const,
    ['cache-control', 'private, max-age=60'] as const,
  ]
  return { ...answer, headers, body: card }
}
