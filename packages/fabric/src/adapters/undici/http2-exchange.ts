import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2'
import { endMemory } from '@countersign/protocol'
import type { UpstreamRequest } from '../../routes/upstream.ts'
import { type Dispatched, UnprocessedError } from './dispatched.ts'
import type { Lane } from './lane.ts'

/** Fields of HTTP/1.1 connections, which a request of HTTP/2 may not have. */
const connectionFields: ReadonlySet<string> = new Set(['host', 'connection', 'transfer-encoding'])

const unprocessed = 'the receiver states that it has not processed the request'
const unfinished = 'the stream ended without a whole response'

/** One request on a session, reported to `Dispatched` as undici reports those of HTTP/1.1. */
export class Http2Exchange {
  readonly #dispatched: Dispatched
  readonly #lastTaken: () => number
  #stream: ClientHttp2Stream | null = null
  /**
   * Resets the stream and writes nothing else. `close` of Node with a code writes the end of the
   * stream first, and a receiver would take the frames that it has for the whole request.
   */
  readonly #reset = new AbortController()
  #isOver = false
  #isAnswered = false
  /** The receiver has ended the stream itself, with the flag of its last frame. */
  #isWhole = false
  readonly #controller = {
    abort: (cause: Error): void => this.#fail(cause),
    pause: (): void => void this.#stream?.pause(),
    resume: (): void => void this.#stream?.resume(),
  }

  /** `lastTaken` is the last stream that the receiver may have processed. */
  constructor(dispatched: Dispatched, lane: Lane, lastTaken: () => number) {
    this.#dispatched = dispatched
    this.#lastTaken = lastTaken
    dispatched.takeLane(() => lane)
  }

  /** Returns the stream; null where the last questions were answered with no. */
  send(
    session: ClientHttp2Session,
    request: UpstreamRequest,
    path: string,
  ): ClientHttp2Stream | null {
    // The last questions before a byte is written; each no is reported by `abort`.
    this.#dispatched.onRequestStart(this.#controller)
    if (this.#isOver) return null
    const { signal } = this.#reset
    const stream = session.request(headersOf(request, path), { endStream: false, signal })
    this.#stream = stream
    this.#listen(stream)
    const { idleMs = 0 } = request.bounds ?? {}
    if (idleMs > 0)
      stream.setTimeout(idleMs, () => this.#fail(new Error(`silent for ${idleMs} ms`)))
    if (request.stream === undefined) stream.end(request.body)
    else void this.#write(stream, request.stream)
    return stream
  }

  #listen(stream: ClientHttp2Stream): void {
    const dispatched = this.#dispatched
    const controller = this.#controller
    const start = (headers: IncomingHttpHeaders): void => {
      this.#isAnswered = true
      const status = Number((headers as Record<string, unknown>)[':status'])
      dispatched.onResponseStart(controller, status, fieldsOf(headers))
    }
    stream.on('headers', start)
    stream.on('response', start)
    stream.on('data', (chunk: Uint8Array) => {
      if (!this.#isOver) dispatched.onResponseData(controller, chunk)
    })
    stream.on('trailers', (headers: IncomingHttpHeaders) =>
      dispatched.takeTrailers(fieldsOf(headers)),
    )
    this.#watchEnd(stream)
    // Before the end that Node reports of a stream that broke off.
    stream.on('aborted', () => this.#break(new Error('the receiver reset the stream')))
    stream.on('error', (cause: Error) => this.#break(cause))
    stream.on('end', () => {
      if (this.#isOver) return
      if (!this.#isWhole) return this.#break(new Error(unfinished))
      this.#isOver = true
      dispatched.onResponseEnd()
      // A response that is whole before its request: nothing more of that is wanted.
      if (!stream.writableFinished) this.#reset.abort()
    })
    stream.on('close', () => this.#break(new Error(unfinished)))
  }

  /** The stream ended by itself. */
  #break(cause: Error): void {
    if (this.#isOver) return
    this.#fail(this.#isUnprocessed() ? new UnprocessedError(unprocessed) : cause)
  }

  /** RFC 9113, sections 6.8 and 8.7; a receiver that has begun to answer contradicts itself. */
  #isUnprocessed(): boolean {
    const { rstCode, id = 0 } = this.#stream ?? {}
    if (this.#isAnswered) return false
    return rstCode === constants.NGHTTP2_REFUSED_STREAM || id > this.#lastTaken()
  }

  /**
   * Node ends the reading side of every stream: one that the receiver ended, and one that was reset
   * without an error, or whose connection was cut or closed, which has no other sign once the
   * request was written. The end that comes from a frame is reported before the stream is closed.
   */
  #watchEnd(stream: ClientHttp2Stream): void {
    const push = stream.push.bind(stream)
    stream.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
      if (chunk === null && !stream.closed) this.#isWhole = true
      return push(chunk, encoding)
    }
  }

  /** Reads the next piece when the receiver has room for it. Never ends what threw. */
  async #write(stream: ClientHttp2Stream, body: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const chunk of body) {
        if (this.#isOver) return
        if (!stream.write(chunk)) await drained(stream)
        // Written and taken: not even the codec of HTTP/2 refers to it any longer.
        if (stream.writableLength === 0) endMemory(chunk)
      }
      if (!this.#isOver) stream.end()
    } catch (cause) {
      this.#fail(cause as Error)
    }
  }

  #fail(cause: Error): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#reset.abort()
    this.#dispatched.onResponseError(this.#controller, cause)
  }
}

function drained(stream: ClientHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done).off('close', done)
      resolve()
    }
    stream.on('drain', done).on('close', done)
  })
}

function headersOf(request: UpstreamRequest, path: string): OutgoingHttpHeaders {
  const headers: Record<string, string | string[]> = {}
  for (const [given, value] of request.headers) {
    const name = given.toLowerCase()
    if (connectionFields.has(name)) continue
    const before = headers[name]
    headers[name] = before === undefined ? value : [...[before].flat(), value]
  }
  // The trailers of a response are read (RFC 9110, section 10.1.4).
  return { ...headers, te: 'trailers', ':method': request.method, ':path': path }
}

/** The fields of a head or of trailers, without those of HTTP/2 itself. */
function fieldsOf(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const fields: Record<string, string | string[]> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value !== undefined && !name.startsWith(':')) fields[name] = value
  }
  return fields
}
