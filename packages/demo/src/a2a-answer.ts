import { A2A_VERSION_HEADER, AgentCard, formatSSEErrorEvent, formatSSEEvent } from '@a2a-js/sdk'
import {
  type A2ARequestHandler,
  JsonRpcTransportHandler,
  ServerCallContext,
  validateVersion,
} from '@a2a-js/sdk/server'

/** The official A2A server as a function of `Request` and `Response`: the card, and JSON-RPC. */
export async function answerA2a(handler: A2ARequestHandler, request: Request): Promise<Response> {
  const { pathname } = new URL(request.url)
  if (request.method === 'GET' && pathname === '/.well-known/agent-card.json') {
    return Response.json(AgentCard.toJSON(await handler.getAgentCard()))
  }
  if (request.method !== 'POST' || pathname !== '/') return new Response(null, { status: 404 })
  const body = await request.text()
  try {
    const requestedVersion = request.headers.get(A2A_VERSION_HEADER) ?? ''
    const context = new ServerCallContext({ requestedVersion })
    validateVersion(context.requestedVersion, await handler.getAgentCard(), 'JSONRPC')
    const answer = await new JsonRpcTransportHandler(handler).handle(body, context)
    return Symbol.asyncIterator in answer ? await toStream(answer) : Response.json(answer)
  } catch (error) {
    return Response.json(toRpcError(error))
  }
}

function toRpcError(error: unknown): object {
  return { jsonrpc: '2.0', id: null, error: JsonRpcTransportHandler.mapToJSONRPCError(error) }
}

/** A failure before the first event is still a plain answer, as in the official server. */
async function toStream(events: AsyncGenerator<object>): Promise<Response> {
  const first = await events.next()
  const encoder = new TextEncoder()
  let next: Promise<IteratorResult<object>> = Promise.resolve(first)
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const event = await next
        if (event.done === true) return controller.close()
        controller.enqueue(encoder.encode(formatSSEEvent(event.value)))
        next = events.next()
      } catch (error) {
        controller.enqueue(encoder.encode(formatSSEErrorEvent(toRpcError(error))))
        controller.close()
      }
    },
    async cancel() {
      await events.return(undefined)
    },
  })
  return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
}
