import { formatSpiffeId, isAssignableName, isSignedAsStream } from '@countersign/protocol'
import type { BodyBudget } from '../../budgets/body-budget.ts'
import { OpenStreams } from '../../budgets/open-streams.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { PipelineDeps } from '../../pipeline/enforce.ts'
import type { PresentedSignature } from '../../pipeline/unchecked-request.ts'
import type { ReadKind } from '../../protocols/a2a/card-content.ts'
import type { TaskOwners } from '../../protocols/a2a/task-guard.ts'
import type { TaskReader } from '../../protocols/a2a/task-reader.ts'
import type { Classify } from '../../protocols/classify.ts'
import type { McpSessions } from '../../protocols/mcp/mcp-sessions.ts'
import type { Head } from '../../protocols/reading/head.ts'
import { streamedCodec, unroutedStream } from '../../protocols/request-streams.ts'
import type { Balancer } from '../../routes/balancer.ts'
import { type Routes, reliabilityOf } from '../../routes/routes.ts'
import { answerCall } from '../http/call.ts'
import type { ForwardSigner, KeySigner } from '../http/forward-signature.ts'
import type { PathMatch, PathRoute } from '../http/path-routes.ts'
import type { StreamedRequest } from '../http/request-frames.ts'
import type { Reply } from '../http/respond.ts'
import type { Router } from './request-context.ts'
import { GATEWAY_WIRE } from './wire.ts'

export interface AgentsRouterOptions {
  readonly deps: PipelineDeps
  readonly routes: Routes
  readonly upstream: Balancer
  /** Signs what is forwarded. */
  readonly signer: ForwardSigner
  /** Signs the cards that are rewritten: callers keep them, and check them by a pinned key. */
  readonly cardSigner: KeySigner
  readonly sessions: McpSessions
  readonly tasks: TaskOwners
  readonly classify: Classify
  readonly readKind: ReadKind
  readonly taskReader: TaskReader
  readonly trustDomain: string
  /** `https://host:port` of this gateway, as callers reach it. */
  origin(): string
  readonly bodyBytesMax: number
  /** Of everything that receivers sent. */
  readonly answers: BodyBudget
  readonly timeoutMs: number
  readonly streamMs: number
}

/** Calls to agents. */
export function agentsRoutes(options: AgentsRouterOptions): readonly PathRoute<Router>[] {
  const router = agentsRouter(options)
  return [
    ['* /agents/:agent/**', router],
    ['* /agents', router],
  ]
}

/**
 * The codec and bounds of a call that its route permits to be a stream; a refusal of one that was
 * signed as a stream and may not be one, null for any other.
 */
export function streamOfCall(routes: Routes, places: OpenStreams = new OpenStreams()) {
  return (
    { segments }: PathMatch<Router>,
    head: Head,
    signature: PresentedSignature | null,
  ): StreamedRequest | null | Refusal => {
    const { agent } = segments
    if (agent === undefined || !head.path.startsWith('/agents/')) return null
    const route = routes.find(agent)
    const codec = streamedCodec(route, head)
    if (codec instanceof Refusal) return codec
    if (route !== null && codec !== null) {
      return { codec, bounds: reliabilityOf(route).streams, places }
    }
    const isStated = signature !== null && isSignedAsStream(signature.signed)
    return isStated ? unroutedStream(route) : null
  }
}

function agentsRouter(options: AgentsRouterOptions): Router {
  return async (context) => {
    const claimed = context.segments['agent'] ?? ''
    const name = isAssignableName(claimed) ? claimed : 'unknown'
    const findRoute = () => options.routes.find(name)
    const route = findRoute() ?? { name, protocol: 'auto', endpoints: [] }
    const query = context.received.head.path.slice(context.path.length)
    const reply = await answerCall(options.deps, {
      exchange: context.exchange,
      at: context.at,
      transport: 'gateway',
      received: context.received,
      path: `${context.rest || '/'}${query}`,
      sessions: options.sessions,
      classify: options.classify,
      tasks: options.tasks,
      taskReader: options.taskReader,
      wireOf: (refusal: Refusal) => GATEWAY_WIRE[refusal.code],
      forwarder: {
        route,
        findRoute,
        upstream: options.upstream,
        signer: options.signer,
        receiverId: formatSpiffeId({
          trustDomain: options.trustDomain,
          kind: 'agent',
          name,
          instance: null,
        }),
        bodyBytesMax: options.bodyBytesMax,
        answers: options.answers,
        timeoutMs: options.timeoutMs,
        streamMs: options.streamMs,
        signal: context.signal,
        readKind: options.readKind,
        card: {
          baseUrl: `${options.origin()}/agents/${name}`,
          upstreamUrls: route.endpoints.map(({ url }) => url),
          protocol: route.protocol,
          signer: options.cardSigner,
          credentialsRequired: true,
        },
      },
    })
    return withoutPages(reply)
  }
}

/**
 * Content types that browsers do not treat as a page; everything else might be one, or be made out
 * to be.
 */
const noPage = /^(?:application\/(?:[a-z0-9.+-]+\+)?json|text\/event-stream)\s*(?:;|$)/i

/**
 * Responses of agents share their origin with the console, which keeps an operator's key there, and
 * with everything that a certificate in that browser may do. They are shown, but nothing in them
 * may run.
 */
function withoutPages(reply: Reply): Reply {
  const type = reply.headers.find(([name]) => name === 'content-type')?.[1] ?? ''
  if (noPage.test(type)) return reply
  const fields = [
    ['content-security-policy', "sandbox; default-src 'none'; frame-ancestors 'none'"],
    ['x-content-type-options', 'nosniff'],
  ] as const
  return { ...reply, headers: [...reply.headers, ...fields] }
}
