import { ArrivingBytes, formatLimit } from '@countersign/protocol'
import { PeerError } from '@countersign/protocol/tls'
import { type Dispatcher, errors } from 'undici'
import { OutOfSpaceError, UpstreamError, WithdrawnError } from '../../lib/upstream-error.ts'
import type { Endpoint, UpstreamRequest, UpstreamResponse } from '../../routes/upstream.ts'
import type { Lane } from './lane.ts'

/** The receiver states that it has not processed a request, of which bytes left. */
export class UnprocessedError extends Error {}

/** More than this waits for no reader: the socket is read no further until it is taken. */
const waitingBytesMax = 64 * 1024

/**
 * Chunks of one response. Each costs the event loop some microseconds in which nothing can wait its
 * turn; further ones, as those of a long stream of events, must carry 16 bytes on average.
 */
const piecesLimit = { name: 'upstream.pieces', value: 16_384, unit: 'count' } as const
const bytesOfPieceMin = 16

/** Responses of 100 to 103 before the final one: a receiver that sends more never means to end. */
const announcementsMax = 16

type Sending = Pick<UpstreamRequest, 'method' | 'signal' | 'still' | 'leadsTo' | 'account'>
type SendError = UpstreamError | WithdrawnError | OutOfSpaceError
type Controller = Pick<Dispatcher.DispatchController, 'abort' | 'pause' | 'resume'>
type Head = Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseStart']>>[2]
type Step = IteratorResult<Uint8Array, undefined>

/**
 * One request on its way through a pool, and the body that comes back, as undici reports them:
 * without the stream, its iterator and the asynchronous resource that undici's own `request` puts
 * around the same events. The body is read once, by one reader.
 */
export class Dispatched
  implements Dispatcher.DispatchHandler, AsyncIterator<Uint8Array, undefined>
{
  readonly response: Promise<UpstreamResponse>
  readonly #signal: AbortSignal
  readonly #still: UpstreamRequest['still']
  readonly #leadsTo: UpstreamRequest['leadsTo']
  readonly #endpoint: Endpoint
  readonly #method: string
  readonly #over: (() => void)[] = []
  readonly #answer: (response: UpstreamResponse) => void
  readonly #refuse: (cause: unknown) => void
  readonly #leave = (): void => this.#abort(this.#signal.reason)
  readonly #account: UpstreamRequest['account']
  /**
   * As one: each of a million chunks of one byte would cost its reader, and memory, a hundredfold.
   */
  readonly #waiting = new ArrivingBytes(Number.MAX_SAFE_INTEGER)
  /** Size of the chunk that the reader got last, and may still look at. */
  #lentBytes = 0
  #controller: Controller | null = null
  /** Null until the pool has a connection; what is not started is not written. */
  #findLane: (() => Lane | null) | null = null
  /** Of the wait for a connection. */
  #timer: NodeJS.Timeout | undefined
  #started: { readonly lane: Lane; readonly isReused: boolean; readonly bytesRead: number } | null =
    null
  #isSent = false
  #announcements = 0
  #trailers: [string, string][] = []
  #pieces = 0
  #bytes = 0
  #reader: { resolve(step: Step): void; reject(cause: unknown): void } | null = null
  /** No length and no chunks: a cut looks like the end. */
  #endsByClose = false
  #ended = false
  #failure: { readonly cause: SendError } | null = null

  constructor({ method, signal, still, leadsTo, account }: Sending, endpoint: Endpoint) {
    this.#method = method
    this.#still = still
    this.#leadsTo = leadsTo
    this.#endpoint = endpoint
    this.#account = account
    const { promise, resolve, reject } = Promise.withResolvers<UpstreamResponse>()
    this.response = promise
    this.#answer = resolve
    this.#refuse = reject
    this.#signal = signal
    signal.addEventListener('abort', this.#leave, { once: true })
  }

  /** True when the connection is of no more use to this request. */
  get isOver(): boolean {
    return this.#ended || this.#failure !== null
  }

  /** Calls `act` once, when the connection is of no more use to this request. */
  onOver(act: () => void): void {
    if (this.isOver) act()
    else this.#over.push(act)
  }

  /** Takes the function that finds the connection once the request starts. */
  takeLane(findLane: () => Lane | null): void {
    this.#findLane = findLane
    clearTimeout(this.#timer)
  }

  /** True once the operating system has every byte of the request that was written so far. */
  get hasLeft(): boolean {
    return this.#started?.lane.unsentBytes() === 0
  }

  /** Fails, without a byte sent, if no connection takes the request within `ms`. */
  waitAtMost(ms: number, toError: () => OutOfSpaceError | UpstreamError): void {
    if (this.#findLane !== null || this.isOver || this.#timer !== undefined) return
    this.#timer = setTimeout(() => this.#abort(toError()), ms)
    this.#timer.unref()
  }

  /** The last moment before the first byte is written. */
  onRequestStart(controller: Controller): void {
    if (this.#signal.aborted) return controller.abort(this.#signal.reason as Error)
    // It failed by `waitAtMost` and is still in the queue of the pool.
    if (this.#failure !== null) return controller.abort(this.#failure.cause)
    // The request may have waited for this connection much longer than a decision is good for.
    const refusal = this.#still?.() ?? null
    if (refusal !== null) return controller.abort(new WithdrawnError(refusal))
    if (this.#leadsTo?.(this.#endpoint) === false) {
      return controller.abort(new Error(`the route no longer leads to ${this.#endpoint.url}`))
    }
    const lane = this.#findLane?.() ?? null
    const fault = lane?.fault() ?? null
    // It was good in the handshake, maybe an hour ago.
    if (fault !== null) return controller.abort(new PeerError(fault.detail, fault))
    this.#controller = controller
    this.#isSent = true
    if (lane === null) return
    this.#started = { lane, isReused: lane.requests > 0, bytesRead: lane.bytesRead }
    lane.requests += 1
  }

  onResponseStart(controller: Controller, status: number, head: Head): void {
    // 100 to 103 announce an answer; undici refuses an unasked-for 101 itself.
    if (status < 200) {
      this.#announcements += 1
      if (this.#announcements > announcementsMax) {
        controller.abort(new Error(`more than ${announcementsMax} announcements of a response`))
      }
      return
    }
    const body = { [Symbol.asyncIterator]: () => this }
    const headers = pairsOf(head)
    const trailers = () => this.#trailers
    const isFramed = this.#started?.lane.framesBodies !== false
    const endsByClose = !isFramed && isEndedByClose(this.#method, status, head)
    this.#endsByClose = endsByClose
    this.#answer({ status, headers, body, endsByClose, trailers, discard: () => this.#discard() })
    let headBytes = 0
    for (const [name, value] of headers) headBytes += name.length + value.length
    this.#account.take(headBytes)
  }

  onResponseData(controller: Controller, chunk: Uint8Array): void {
    if (this.#failure !== null) return
    this.#pieces += 1
    this.#bytes += chunk.length
    if ((this.#pieces - piecesLimit.value) * bytesOfPieceMin > this.#bytes) {
      const message = 'the response comes in too many small pieces'
      const limit = formatLimit(piecesLimit)
      return this.#abort(new UpstreamError(message, { progress: 'sent', limit, cause: null }))
    }
    const reader = this.#take()
    if (reader !== null) {
      this.#lend(chunk.length)
      reader.resolve({ done: false, value: chunk })
      return
    }
    const before = this.#waiting.heldBytes
    this.#waiting.add(chunk)
    if (this.#waiting.length >= waitingBytesMax) controller.pause()
    // Last: it can end this very response.
    this.#account.take(this.#waiting.heldBytes - before)
  }

  /** The fields after the body. */
  takeTrailers(fields: Head): void {
    this.#trailers = pairsOf(fields)
  }

  onResponseEnd(_?: unknown, trailers?: Head): void {
    if (trailers !== undefined) this.takeTrailers(trailers)
    const lane = this.#started?.lane ?? null
    const failure = lane?.failure ?? null
    if (failure !== null) return void this.#fail(failure)
    if (this.#endsByClose && lane?.isTls === true) return void this.#fail(new Error(unproved))
    this.#ended = true
    this.#callOver()
    this.#signal.removeEventListener('abort', this.#leave)
    this.#take()?.resolve({ done: true, value: undefined })
  }

  onResponseError(_: unknown, cause: unknown): void {
    this.#refuse(this.#fail(cause))
  }

  next(): Promise<Step> {
    this.#account.give(this.#lentBytes)
    this.#lentBytes = 0
    if (this.#failure !== null) return Promise.reject(this.#failure.cause)
    if (this.#waiting.length > 0) {
      this.#lentBytes = this.#waiting.heldBytes
      const value = this.#waiting.take()
      if (value.length >= waitingBytesMax) this.#controller?.resume()
      return Promise.resolve({ done: false, value })
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject }
    })
  }

  #lend(bytes: number): void {
    this.#lentBytes = bytes
    this.#account.take(bytes)
  }

  return(): Promise<Step> {
    this.#discard()
    return Promise.resolve({ done: true, value: undefined })
  }

  #discard(): void {
    if (!this.#ended) this.#abort(new errors.RequestAbortedError())
  }

  /** Before the request started there is nothing to end yet; `onRequestStart` looks again. */
  #abort(cause: unknown): void {
    const failure = this.#fail(cause)
    // Still waiting for a connection, which may never become free: nothing else would report the
    // failure.
    if (this.#controller === null) this.#refuse(failure)
    else this.#controller.abort(cause as Error)
  }

  #fail(given: unknown): SendError {
    clearTimeout(this.#timer)
    this.#failure ??= { cause: this.#toError(given) }
    const { cause } = this.#failure
    this.#callOver()
    this.#account.give(this.#waiting.heldBytes)
    this.#waiting.take()
    this.#signal.removeEventListener('abort', this.#leave)
    this.#take()?.reject(cause)
    return cause
  }

  /**
   * The bytes that the receiver can have seen are known from the connection, and never inferred
   * from a message.
   */
  #toError(cause: unknown): SendError {
    if (cause instanceof WithdrawnError) return cause
    if (cause instanceof OutOfSpaceError && !this.#isSent) return cause
    const message = cause instanceof Error ? cause.message : String(cause)
    const limit = cause instanceof UpstreamError ? cause.limit : null
    if (!this.#isSent) return new UpstreamError(message, { progress: 'not-sent', limit, cause })
    if (cause instanceof UnprocessedError) {
      return new UpstreamError(message, { progress: 'not-sent', isStated: true, cause })
    }
    const stale = isReset(cause) && this.#isSilent()
    return new UpstreamError(message, { progress: 'sent', stale, limit, cause })
  }

  /**
   * Reports whether an earlier request went over this connection, and nothing came back for this
   * one.
   */
  #isSilent(): boolean {
    if (this.#started === null) return false
    const { lane, isReused, bytesRead } = this.#started
    return isReused && lane.bytesRead === bytesRead
  }

  #callOver(): void {
    for (const act of this.#over.splice(0)) act()
  }

  #take() {
    const reader = this.#reader
    this.#reader = null
    return reader
  }
}

/**
 * Node reports the end of a connection of TLS alike with and without the alert that its peer sends
 * last, and anyone on the path can send the latter (RFC 9112, section 9.8).
 */
const unproved = 'only the end of the connection ends the response, which is not proved to be whole'

/** RFC 9112, section 6.3: the body is all that comes before the connection ends. */
function isEndedByClose(method: string, status: number, head: Head): boolean {
  if (head['content-length'] !== undefined) return false
  if (method === 'HEAD' || status === 204 || status === 304) return false
  const coding = head['transfer-encoding']
  return coding === undefined || !/(?:^|[\s,])chunked\s*$/i.test([coding].flat().at(-1) ?? '')
}

const resetCodes: ReadonlySet<unknown> = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'])

function isReset(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && resetCodes.has(cause.code)
}

function pairsOf(head: Head): [string, string][] {
  const headers: [string, string][] = []
  for (const name in head) {
    const value = head[name]
    if (typeof value === 'string') headers.push([name, value])
    else if (Array.isArray(value)) for (const one of value) headers.push([name, one])
  }
  return headers
}
