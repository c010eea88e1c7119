import type { ClientHttp2Session } from 'node:http2'
import type { UpstreamRequest } from '../../routes/upstream.ts'
import type { Dispatched } from './dispatched.ts'
import { Http2Exchange } from './http2-exchange.ts'
import type { Lane } from './lane.ts'

export interface Http2Request {
  readonly request: UpstreamRequest
  readonly dispatched: Dispatched
  /** The path at the receiver. */
  readonly path: string
}

interface Waiting {
  readonly sending: Http2Request
  resolve(isTaken: boolean): void
}

/**
 * One connection to a receiver, for the requests of one caller. At most as many are streams on it
 * as the receiver permits: the next ones wait here, where they can still be given up unsent.
 */
export class Http2Session {
  readonly #session: ClientHttp2Session
  readonly #lane: Lane
  readonly #idleMs: number
  readonly #waiting = new Set<Waiting>()
  #streams = 0
  #lastTaken = Number.POSITIVE_INFINITY
  #isDue = false
  #idle: NodeJS.Timeout | undefined

  /** The receiver of `session` has stated its settings. */
  constructor(session: ClientHttp2Session, lane: Lane, idleMs: number) {
    this.#session = session
    this.#lane = lane
    this.#idleMs = idleMs
    session.on('remoteSettings', () => this.#next())
    session.on('goaway', (_code, lastTaken) => {
      this.#lastTaken = Math.min(this.#lastTaken, lastTaken)
      this.#leave()
    })
    session.on('close', () => this.#leave())
    this.#rest()
  }

  get isIdle(): boolean {
    return this.#streams === 0 && this.#waiting.size === 0
  }

  /** No request can be a stream on it until the receiver changes its settings. */
  get permitsNone(): boolean {
    return this.#session.remoteSettings.maxConcurrentStreams === 0
  }

  /** Its peer was good in the handshake, maybe an hour ago. */
  get isUsable(): boolean {
    return !this.#session.closed && !this.#session.destroyed && this.#lane.fault() === null
  }

  onClose(act: () => void): void {
    if (this.#session.destroyed) act()
    else this.#session.once('close', act)
  }

  /** Resolves once the request is over or a stream; with false where the session ended first. */
  send(sending: Http2Request): Promise<boolean> {
    return new Promise((resolve) => {
      const waiting = { sending, resolve }
      this.#waiting.add(waiting)
      sending.dispatched.onOver(() => {
        if (!this.#waiting.delete(waiting)) return
        resolve(true)
        this.#rest()
      })
      clearTimeout(this.#idle)
      if (this.#streams === 0) this.#next()
      else this.#nextTurn()
    })
  }

  /**
   * The end of one stream and the announcement that the session ends can come in one read, of which
   * the caller has seen the former only: what begins before the latter is refused.
   */
  #nextTurn(): void {
    if (this.#isDue) return
    this.#isDue = true
    setImmediate(() => {
      this.#isDue = false
      this.#next()
    })
  }

  /** Takes no further request; those under way go on. */
  close(): void {
    this.#session.close()
    this.#leave()
  }

  destroy(): void {
    this.#session.destroy()
    this.#leave()
  }

  #next(): void {
    for (const waiting of this.#waiting) {
      if (this.#session.closed || this.#session.destroyed) return this.#leave()
      const { maxConcurrentStreams = Number.POSITIVE_INFINITY } = this.#session.remoteSettings
      if (this.#streams >= maxConcurrentStreams) return
      this.#waiting.delete(waiting)
      this.#begin(waiting.sending)
      waiting.resolve(true)
    }
  }

  #begin({ dispatched, request, path }: Http2Request): void {
    try {
      const stream = this.#exchange(dispatched).send(this.#session, request, path)
      if (stream === null) return this.#rest()
      clearTimeout(this.#idle)
      this.#streams += 1
      // Until then the receiver counts it: a reset is written at the end of this turn.
      stream.once('close', () => setImmediate(() => this.#ended()))
    } catch (cause) {
      dispatched.onResponseError(null, cause)
    }
  }

  #exchange(dispatched: Dispatched): Http2Exchange {
    return new Http2Exchange(dispatched, this.#lane, () => this.#lastTaken)
  }

  #ended(): void {
    this.#streams -= 1
    this.#next()
    this.#rest()
  }

  /** A timeout of the session itself would end it while its streams are silent. */
  #rest(): void {
    clearTimeout(this.#idle)
    if (!this.isIdle) return
    this.#idle = setTimeout(() => this.#session.close(), this.#idleMs)
    this.#idle.unref()
  }

  /** Those that wait go elsewhere. */
  #leave(): void {
    if (this.#session.destroyed) clearTimeout(this.#idle)
    const all = [...this.#waiting]
    this.#waiting.clear()
    for (const { resolve } of all) resolve(false)
  }
}
