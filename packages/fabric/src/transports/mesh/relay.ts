import type { ServerResponse } from 'node:http'
import {
  formatContentDigest,
  formatSignedResponseHeaders,
  prepareResponseSignature,
  type SignableRequest,
  utf8,
} from '@countersign/protocol'
import { drained, sendBytes } from '@countersign/protocol/tls'
import type { BodyBudget, BodyShare } from '../../budgets/body-budget.ts'
import { createDeadline, type Deadline } from '../../budgets/deadline.ts'
import type { News } from '../../identity/newcomers.ts'
import type { Clock } from '../../lib/clock.ts'
import { Refusal } from '../../lib/refusal.ts'
import { sha256 } from '../../lib/sha256.ts'
import { evicted } from '../../lib/upstream-error.ts'
import {
  declinedBy,
  isNotSent,
  refusalOf,
  type Undelivered,
  withheld,
} from '../../pipeline/delivery.ts'
import type { PipelineDeps } from '../../pipeline/enforce.ts'
import { DECISION_FIELD, parseDecision } from '../../pipeline/forwarded-decision.ts'
import { recheckForwarded } from '../../pipeline/recheck-forwarded.ts'
import { watchRight } from '../../pipeline/status.ts'
import { asItCame, cutRequest, Upload } from '../../pipeline/upload.ts'
import { cardMediator } from '../../protocols/a2a/agent-card.ts'
import { forwardedHeaders } from '../../protocols/reading/head.ts'
import { answeringCodec } from '../../protocols/request-streams.ts'
import type { Balancer } from '../../routes/balancer.ts'
import { type Route, reliabilityOf } from '../../routes/routes.ts'
import type { BalancedResponse, UpstreamResponse } from '../../routes/upstream.ts'
import { readBodyOf } from '../http/answer-body.ts'
import { refusalReply } from '../http/call.ts'
import { readCallerDeadline, timeoutFields } from '../http/caller-deadline.ts'
import { undelivered } from '../http/forwarder.ts'
import type { ReceivedRequest } from '../http/received-request.ts'
import { type NodeResponse, writeReply } from '../http/respond.ts'
import { receiverFields } from '../http/response-fields.ts'
import { type ResponseHead, readResponseHead, readTrailers } from '../http/response-head.ts'
import { hasUnknownEnd, unknownEndField } from '../http/unknown-end.ts'
import type { ConnectorAgent } from './connector-agent.ts'
import { MESH_WIRE } from './wire.ts'

export interface RelayOptions {
  readonly deps: Pick<PipelineDeps, 'authorization' | 'standing'>
  readonly agent: ConnectorAgent
  readonly route: Route
  readonly upstream: Balancer
  readonly bodyBytesMax: number
  /** Of what the agent sent: one share for each agent that the gateway forwards for. */
  readonly answers: BodyBudget
  readonly timeoutMs: number
  readonly streamMs: number
  readonly clock: Clock
  readonly news: News
}

/** As the gateway judges them; the connector adds its own digest and signature. */
const names: ReadonlySet<string> = new Set(
  [...receiverFields, 'retry-after'].filter((name) => name !== 'content-digest'),
)

/**
 * A request of the gateway, with what was known when its head came: its body may have taken long.
 */
export interface Relayed {
  readonly received: ReceivedRequest
  readonly changesAtReceipt: number
}

/**
 * Hands the agent the requests that the fabric's gateway forwarded. The gateway has identified,
 * permitted, inspected and recorded the exchange; to do it again here would record it twice. This
 * adds the agent's countersignature over the forwarded request. Only a peer whose certificate
 * proves it to be the fabric may use this path.
 */
export async function relayForwarded(
  options: RelayOptions,
  { received, changesAtReceipt }: Relayed,
  response: NodeResponse,
  signal: AbortSignal,
): Promise<void> {
  const { head, body } = received
  const out = response as ServerResponse
  const from = head.headers.get('countersign-from') ?? ''
  const given = readCallerDeadline(head)
  if (given instanceof Refusal) return await refuse(out, declinedBy(given), received)
  const share = options.answers.admit(options.route.name, from)
  if (share instanceof Refusal) return await refuse(out, declinedBy(share), received)
  const { frames } = received
  const wholeMs = Math.min(options.timeoutMs, reliabilityOf(options.route).timeouts.exchangeMs)
  const ownMs = frames === undefined ? wholeMs : options.streamMs
  const deadline = createDeadline(signal, ownMs, given)
  share.onEvicted((refusal) => {
    deadline.fail(evicted(refusal))
    // A gateway that reads slowly keeps nothing of a stream waiting here.
    if (out.headersSent) out.destroy()
  })
  let upload: Upload | null = null
  try {
    const decided = parseDecision(head.headers.get(DECISION_FIELD))
    const receiver = options.route.name
    const call = { from, receiver, decided, changesAtReceipt }
    const { deps, news } = options
    const still = await recheckForwarded({ authorization: deps.authorization, news }, call)
    if (still instanceof Refusal) return await refuse(out, declinedBy(still), received)
    received.begun()
    if (frames !== undefined) {
      // The rest of a stream that is answered before its end has no reader.
      out.shouldKeepAlive = false
      upload = new Upload(frames, frames.firstBytes)
      upload.begin(watchRight(still, deps.standing), asItCame)
      upload.onFailure((cause) => deadline.fail(cause))
    }
    const answer = await options.upstream.request(options.route, {
      method: head.method,
      path: head.path,
      headers: [...forwardedHeaders(head), ...identityHeaders(received), ...timeoutFields(given)],
      body,
      ...(upload === null ? {} : { stream: upload.bytes, isHttp2: frames?.codec.name === 'grpc' }),
      signal: deadline.signal,
      still,
      account: share,
      owner: from,
    })
    const operation = decided?.operation ?? ''
    await pass(options, received, { answer, out, deadline, share, operation })
  } catch (cause) {
    // A stream that has begun breaks off, which the gateway knows from an end.
    if (out.headersSent) return void out.destroy()
    const failure = cause instanceof Withheld ? cause.undelivered : undelivered(cause)
    const cut = upload?.cut ?? null
    await refuse(out, cut === null ? failure : cutRequest(cut, isNotSent(failure)), received)
  } finally {
    upload?.finish()
    deadline.end()
    share.close()
  }
}

/** The agent answered, and what it answered cannot be handed on. */
class Withheld extends Error {
  readonly undelivered: Undelivered

  constructor(refusal: Refusal) {
    super(refusal.detail)
    this.undelivered = withheld(refusal)
  }
}

/**
 * Answers the gateway for an agent that gave no acceptable response. The connection proves that
 * this is the receiver's connector; only it knows whether its agent has seen the request.
 */
function refuse(
  out: ServerResponse,
  failure: Undelivered,
  { head }: ReceivedRequest,
): Promise<void> {
  const exchange = head.headers.get('countersign-exchange') ?? ''
  const wireOf = ({ code }: Refusal) => MESH_WIRE[code]
  return writeReply(out, refusalReply(refusalOf(failure), { exchange, wireOf }))
}

interface Passing {
  readonly answer: BalancedResponse
  readonly out: ServerResponse
  readonly deadline: Deadline
  readonly share: BodyShare
  readonly operation: string
}

async function pass(
  options: RelayOptions,
  received: ReceivedRequest,
  { answer, out, deadline, share, operation }: Passing,
): Promise<void> {
  const read = readResponseHead(answer, { names })
  if (read instanceof Refusal) {
    answer.discard()
    throw new Withheld(read)
  }
  const passing = read.headers.filter(([name]) => receiverFields.has(name))
  // The gateway sees an end that the connector has made.
  const headers = hasUnknownEnd(answer) ? [...passing, unknownEndField] : passing
  const head = { ...read, headers }
  const codec =
    received.frames === undefined ? null : answeringCodec(options.route, head.contentType)
  if (codec instanceof Refusal) {
    answer.discard()
    throw new Withheld(codec)
  }
  if (head.isStream || codec !== null) {
    out.writeHead(head.status, countersign(options, received, head).flat())
    deadline.allow(options.streamMs)
    await pour(answer, out, codec !== null)
    return
  }
  const whole = await readWhole(options, received, { answer, share, operation })
  const digest = ['content-digest', formatContentDigest(sha256(whole))] as const
  const digested = { status: head.status, headers: [...head.headers, digest] }
  out.writeHead(head.status, [
    ...countersign(options, received, digested).flat(),
    ...['content-length', String(whole.length)],
  ])
  await sendBytes(out, whole)
}

/** The sender of the request as the fabric states it: for agents that look at it. */
function identityHeaders({ head }: ReceivedRequest): [string, string][] {
  return ['countersign-exchange', 'countersign-from'].flatMap((name): [string, string][] => {
    const value = head.headers.get(name)
    return value === undefined ? [] : [[name, value]]
  })
}

function countersign(
  { agent, clock }: RelayOptions,
  { head }: ReceivedRequest,
  { status, headers }: Pick<ResponseHead, 'status' | 'headers'>,
): ResponseHead['headers'] {
  const { method, path, authority } = head
  const request: SignableRequest = { method, path, authority, headers: [...head.headers] }
  const { input, base } = prepareResponseSignature(
    { response: { status, headers }, request },
    { created: Math.floor(clock.now() / 1000), keyId: agent.signer.keyId },
  )
  return [
    ...headers,
    ...formatSignedResponseHeaders('callee', input, agent.signer.sign(utf8(base))),
  ]
}

async function readWhole(
  options: RelayOptions,
  received: ReceivedRequest,
  { answer, share, operation }: Pick<Passing, 'answer' | 'share' | 'operation'>,
): Promise<Uint8Array> {
  const body = await readBodyOf(answer, options.bodyBytesMax, share)
  if (body instanceof Refusal) throw new Withheld(body)
  const mediate = cardMediator(operation, answer.status)
  if (mediate === null) return body
  const card = mediate(body, {
    // The card has to lead to the address that the gateway knows; it rewrites the card once more.
    baseUrl: `https://${received.head.authority}`,
    upstreamUrls: options.route.endpoints.map(({ url }) => url),
    protocol: options.route.protocol,
    signer: options.agent.signer,
    credentialsRequired: true,
  })
  if (card instanceof Refusal) throw new Withheld(card)
  return card
}

/** The gateway parses and inspects events and frames; they pass as they come, at its pace. */
async function pour(
  answer: UpstreamResponse,
  out: ServerResponse,
  hasTrailers: boolean,
): Promise<void> {
  out.flushHeaders()
  for await (const chunk of answer.body) {
    if (out.destroyed) break
    if (!out.write(chunk)) await drained(out)
  }
  const trailers = hasTrailers ? readTrailers(answer.trailers?.() ?? []) : []
  if (trailers.length > 0) out.addTrailers(Object.fromEntries(trailers))
  answer.discard()
  out.end()
}
