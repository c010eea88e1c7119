import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { toWebStream } from '../connection/web-stream.ts'
import { AgentError } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'
import type { ReceivedStream } from './received-stream.ts'
import { type AgentHandler, type NodeListener, receivedOf } from './serve.ts'

/** A Node listener that answers by a handler of `Request` and `Response`. */
export function listenerOf(
  handler: AgentHandler,
  bodyBytesMax: number = LIMITS.bodyBytesMax,
): NodeListener {
  return async (raw, response) => {
    const received = receivedOf(raw)
    if (received === null) {
      response.destroy()
      return
    }
    const gone = new AbortController()
    response.once('close', () => {
      if (!response.writableFinished) gone.abort()
    })
    let answer: Response
    try {
      const { stream } = received
      const streamed = stream === null ? null : bounded(stream, bodyBytesMax)
      answer = await handler({
        ...received,
        request: await toRequest(raw, streamed, gone.signal),
      })
    } catch {
      // The message of an error may hold anything; only this process may read it.
      answer = Response.json({ title: 'the agent failed', status: 500 }, { status: 500 })
    }
    await write(answer, response)
  }
}

async function toRequest(
  raw: IncomingMessage,
  streamed: AsyncIterable<Uint8Array> | null,
  signal: AbortSignal,
): Promise<Request> {
  const headers = new Headers()
  for (let at = 0; at + 1 < raw.rawHeaders.length; at += 2) {
    headers.append(raw.rawHeaders[at] ?? '', raw.rawHeaders[at + 1] ?? '')
  }
  const method = raw.method ?? 'GET'
  const url = new URL(raw.url ?? '/', `https://${raw.headers.host ?? 'agent.invalid'}`)
  const init = { method, headers, signal }
  if (streamed !== null) {
    // The types of Node leave out what its own `fetch` asks for.
    const half = { duplex: 'half' } as const
    return new Request(url, { ...init, ...half, body: toWebStream(streamed) })
  }
  const chunks: Uint8Array[] = []
  for await (const chunk of raw as AsyncIterable<Uint8Array>) chunks.push(chunk)
  const hasBody = method !== 'GET' && method !== 'HEAD' && chunks.length > 0
  return new Request(url, { ...init, body: hasBody ? Buffer.concat(chunks) : null })
}

/** A handler that reads a stream as one message must not hold more of it than of a message. */
async function* bounded(
  stream: ReceivedStream,
  bodyBytesMax: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  let leftBytes = bodyBytesMax
  for await (const bytes of stream.bytes()) {
    leftBytes -= bytes.length
    if (leftBytes < 0) throw new AgentError('REQUEST_TOO_LARGE', 'read `stream` instead')
    yield bytes
  }
}

async function write(answer: Response, response: ServerResponse): Promise<void> {
  response.statusCode = answer.status
  for (const [name, value] of answer.headers) {
    if (name === 'set-cookie') response.appendHeader(name, value)
    else response.setHeader(name, value)
  }
  response.flushHeaders()
  if (answer.body !== null) {
    try {
      for await (const chunk of answer.body) {
        if (response.destroyed) return
        if (!response.write(chunk)) await drained(response)
      }
    } catch {
      // Half an answer must not look like a whole one.
      response.destroy()
      return
    }
  }
  response.end()
}

async function drained(response: ServerResponse): Promise<void> {
  const given = new AbortController()
  const { signal } = given
  try {
    await Promise.race([once(response, 'drain', { signal }), once(response, 'close', { signal })])
  } finally {
    given.abort()
  }
}
