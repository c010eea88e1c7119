import type { IncomingMessage, ServerResponse } from 'node:http'
import {
  constants,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
import { FrameAccount } from './frame-account.ts'
import { PipelineGate } from './pipeline-gate.ts'
import { type BacklogFault, type BacklogLimits, ResponseBacklog } from './response-backlog.ts'
import { remainingBytes, sharedBytes } from './send-bytes.ts'

export interface TrackedResponse {
  readonly response: ServerResponse | Http2ServerResponse
  readonly stream: ServerHttp2Stream | null
  readonly backlog: ResponseBacklog
  isWatched: boolean
  /** True if the last sample found the response whole and the request not. */
  isHalfOpen: boolean
  /** As last sampled: in all, and of a buffer that others send from as well. */
  unsent: number
  shared: { readonly buffer: Uint8Array; readonly bytes: number } | null
}

interface GuardedOptions {
  readonly socket: Socket
  /** Null over HTTP/1.1. */
  readonly session: ServerHttp2Session | null
  readonly limits: BacklogLimits & {
    readonly unsentBytesPerConnection: number
    readonly lingerMs: number
    readonly idleMs: number
  }
}

interface Waiting {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly serve: () => void
}

/** One connection of a listener: its open responses, and how it ends. */
export class GuardedConnection {
  readonly socket: Socket
  /** An identity that the connection proved. */
  proved: string | null = null
  /** Null over HTTP/1.1. */
  readonly frames: FrameAccount | null
  readonly #session: ServerHttp2Session | null
  readonly #limits: GuardedOptions['limits']
  readonly #gate: PipelineGate | null
  /** Node's own, for connections that have nothing left to lose. */
  readonly #destroySoon: () => void
  readonly #open = new Set<TrackedResponse>()
  /**
   * The bytes that the connection has to send besides responses: frames, and answers to unparsed
   * requests.
   */
  readonly #backlog: ResponseBacklog
  #waiting: Waiting[] = []
  #unsent = 0
  #idleSince: number | null = null
  #isFinishing = false
  isDropped = false

  constructor({ socket, session, limits }: GuardedOptions) {
    this.socket = socket
    this.#session = session
    this.#limits = limits
    this.#backlog = new ResponseBacklog(limits)
    this.#gate = session === null ? PipelineGate.attach(socket) : null
    this.frames = session === null ? null : accountOf(session)
    this.#destroySoon = socket.destroySoon.bind(socket)
    socket.destroySoon = () => this.#linger()
  }

  /** As last sampled. */
  get unsent(): number {
    return this.#unsent
  }

  /** The part of the unsent bytes that is held for this connection alone. */
  get unsentOwn(): number {
    let own = this.#unsent
    for (const { shared } of this.#open) own -= shared?.bytes ?? 0
    return own
  }

  /** The buffers of the rest. */
  *shared(): Iterable<Uint8Array> {
    for (const { shared } of this.#open) if (shared !== null) yield shared.buffer
  }

  /**
   * Reports whether the unsent bytes have reached their limit; as of now, not of the last sample.
   */
  isFull(): boolean {
    let unsent = 0
    for (const { stream, response } of this.#open) {
      unsent += (stream?.writableLength ?? 0) + remainingBytes(response)
    }
    return unsent > this.#limits.unsentBytesPerConnection
  }

  /** Runs `serve`, over HTTP/1.1 not before every earlier response has left. */
  serve(
    request: IncomingMessage | Http2ServerRequest,
    response: ServerResponse | Http2ServerResponse,
    serve: () => void,
  ): void {
    if (this.#session !== null) {
      this.frames?.request(request.rawHeaders)
      this.#track(response, 'stream' in request ? request.stream : null)
      serve()
      return
    }
    const next = { request, response, serve } as Waiting
    if (this.#open.size > 0) this.#waiting.push(next)
    else this.#serveNext(next)
  }

  #serveNext({ request, response, serve }: Waiting): void {
    this.#gate?.begin(request)
    this.#track(response, null)
    if (this.#isFinishing) response.shouldKeepAlive = false
    serve()
  }

  #track(response: TrackedResponse['response'], stream: ServerHttp2Stream | null): void {
    const backlog = new ResponseBacklog(this.#limits)
    const tracked: TrackedResponse = {
      ...{ response, stream, backlog },
      ...{ isWatched: false, isHalfOpen: false, unsent: 0, shared: null },
    }
    this.#open.add(tracked)
    // HTTP/1.1 closes a response once the kernel has its last byte.
    response.once('close', () => this.#closed(tracked))
  }

  #closed(tracked: TrackedResponse): void {
    this.#open.delete(tracked)
    if (this.#session !== null) {
      if (this.#isFinishing && this.#open.size === 0) this.finish()
      return
    }
    const next = this.#waiting.shift()
    if (next !== undefined && !this.socket.destroyed) this.#serveNext(next)
    else if (this.#isFinishing) this.socket.destroySoon()
    else this.#gate?.end()
  }

  /** Samples every backlog; returns the responses whose peer is too slow. */
  sample(
    now: number,
  ): readonly { readonly tracked: TrackedResponse | null; readonly fault: BacklogFault }[] {
    this.#unsent = 0
    const faults: { tracked: TrackedResponse | null; fault: BacklogFault }[] = []
    for (const tracked of this.#open) {
      const { response, stream, backlog } = tracked
      const written = stream?.writableLength ?? (response as ServerResponse).writableLength
      const remaining = remainingBytes(response)
      const unsent = written + remaining
      if (unsent > 0 && !tracked.isWatched) {
        tracked.isWatched = true
        response.on('drain', () => backlog.drained())
      }
      const fault = backlog.sample(unsent, now)
      if (fault !== null) faults.push({ tracked, fault })
      this.#unsent += unsent
      tracked.unsent = unsent
      const buffer = sharedBytes(response)
      tracked.shared = buffer === null ? null : { buffer, bytes: remaining }
      endHalfOpen(tracked)
    }
    this.#endIdle(now)
    if (this.#open.size > 0 && this.#session === null) return faults
    const { writableLength } = this.socket
    const fault = this.#backlog.sample(writableLength, now)
    if (fault !== null) faults.push({ tracked: null, fault })
    this.#unsent += writableLength
    return faults
  }

  /**
   * Over HTTP/2, where Node has no such limit. A timer of each session would outlive its
   * connection.
   */
  #endIdle(now: number): void {
    if (this.#session === null || this.#open.size > 0) {
      this.#idleSince = null
      return
    }
    this.#idleSince ??= now
    if (now - this.#idleSince >= this.#limits.idleMs) this.#session.close()
  }

  /** Reports whether the client sends more besides its requests than any client needs. */
  isFlooding(elapsedMs: number): boolean {
    return this.frames?.isOver(this.socket.bytesRead, elapsedMs) ?? false
  }

  /** Ends an HTTP/2 connection with the reason for it. */
  calm(): void {
    this.isDropped = true
    this.#session?.destroy(constants.NGHTTP2_ENHANCE_YOUR_CALM as unknown as Error)
  }

  worst(now: number): TrackedResponse | null {
    let worst: TrackedResponse | null = null
    for (const each of this.#open) {
      if (worst === null || each.backlog.weight(now) > worst.backlog.weight(now)) worst = each
    }
    return worst
  }

  weight(now: number): number {
    let weight = this.#backlog.weight(now)
    for (const { backlog } of this.#open) weight += backlog.weight(now)
    return weight
  }

  /**
   * Destroys one response; all of them, with the connection, when it is null or cannot go alone.
   */
  drop(tracked: TrackedResponse | null): void {
    if (tracked === null || tracked.stream === null) {
      this.isDropped = true
      this.destroy()
      return
    }
    const { stream } = tracked
    // Its bytes are gone before the next sample: no other connection has to make room for them.
    this.#open.delete(tracked)
    this.#unsent -= tracked.unsent
    stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    // Without this, the reset would wait for the very bytes that the peer does not take.
    stream.destroy()
  }

  destroy(): void {
    this.#session?.destroy()
    this.socket.destroy()
  }

  /** Ends at once when idle, else after the responses that are under way. */
  finish(): void {
    this.#isFinishing = true
    if (this.#session !== null) {
      if (this.#open.size > 0) {
        this.#session.close()
        return
      }
      this.#session.destroy()
      this.#destroySoon()
      return
    }
    if (this.#open.size === 0) this.#destroySoon()
    for (const { response } of this.#open) (response as ServerResponse).shouldKeepAlive = false
  }

  /**
   * A close with unread bytes resets the connection, and the reset overtakes what was written last.
   */
  #linger(): void {
    this.#gate?.discard()
    this.socket.end()
    const timer = setTimeout(() => this.socket.destroy(), this.#limits.lingerMs)
    this.socket.once('end', () => this.socket.destroy())
    this.socket.once('close', () => clearTimeout(timer))
    this.socket.resume()
  }
}

/**
 * Our settings leave the client no compression table. Until it has acknowledged them, a field of
 * one octet may refer to one of any length. Requests that came before the acknowledgement are
 * served in the same turn of the event loop.
 */
function accountOf(session: ServerHttp2Session): FrameAccount {
  const account = new FrameAccount()
  session.once('localSettings', ({ headerTableSize }) => {
    if (headerTableSize === 0) setImmediate(() => account.emptyTable())
  })
  return account
}

/**
 * A whole response may come before the end of its request, which then has no use (RFC 9113, section
 * 8.1). A client that never ended it would hold the stream for as long as the connection.
 */
function endHalfOpen(tracked: TrackedResponse): void {
  const { stream } = tracked
  if (stream === null || !stream.writableFinished || stream.readableEnded) return
  if (tracked.isHalfOpen) stream.close(constants.NGHTTP2_NO_ERROR)
  tracked.isHalfOpen = true
}
