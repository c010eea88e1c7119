import { ArrivingBytes } from '@countersign/protocol'
import { countPiece, inviteBody } from '@countersign/protocol/tls'
import type { Admission } from '../../budgets/admission.ts'
import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { Head } from '../../protocols/reading/head.ts'
import type { NodeRequest } from './received-request.ts'

/** A refused request's body up to this size is discarded; beyond it the connection ends instead. */
const discardedBytesMax = 64 * 1024

/**
 * Chunks or frames of one body: each costs the event loop some microseconds, however small it is.
 */
const piecesLimit = { name: 'http.bodyPieces', value: 16_384, unit: 'count' } as const

/** Beyond that many, the pieces of a streamed body must carry this much on average. */
const bytesOfPieceMin = 16

/** The pieces of a body as they come. */
export interface BodyChunks {
  /** Null at the end. Rejects when the request breaks off. Asked for one at a time. */
  next(): Promise<Uint8Array | null>
  stop(): void
}

/**
 * The body of a request before anyone may read it. To be made in the turn in which the request
 * comes in: a stream that broke off earlier would otherwise look like one that has ended.
 */
export class ArrivingBody {
  readonly #request: NodeRequest
  #broken = false
  #ended = false
  /** The reader, notified of the end: listeners of its own would cost as much as the reading. */
  #reader: { whole(): void; fail(): void } | null = null

  constructor(request: NodeRequest) {
    this.#request = request
    request.on('end', () => {
      this.#ended = true
      if (this.#broken) this.#reader?.fail()
      else this.#reader?.whole()
    })
    request.on('aborted', () => {
      this.#broken = true
    })
    request.on('close', () => {
      if (!this.#ended) this.#broken = true
      this.#reader?.fail()
    })
    // Without a listener the error of a peer that left would end the process.
    request.on('error', () => {
      this.#broken = true
      this.#reader?.fail()
    })
  }

  /**
   * True if a refusal has to end the connection: more may be on its way than is worth discarding.
   */
  get endsConnection(): boolean {
    if (this.#ended) return false
    const { 'content-length': length, 'transfer-encoding': coding } = this.#request.headers
    if (this.#request.httpVersionMajor >= 2) return length === undefined || !isSmall(length)
    return coding !== undefined || (length !== undefined && !isSmall(length))
  }

  /**
   * Reads the body whole, within the bounds of its admission. Gives a refusal when it is too large,
   * too slow or evicted; rejects when it breaks off.
   */
  async read(admission: Admission, head: Head): Promise<Uint8Array | Refusal> {
    const { bodyBytesMax, share } = admission
    const limit = { name: admission.limit, value: bodyBytesMax, unit: 'bytes' } as const
    const tooLarge = () => overLimit('MESSAGE_TOO_LARGE', limit)
    const declared = head.headers.get('content-length')
    if (declared !== undefined && Number(declared) > bodyBytesMax) return tooLarge()
    const body = await this.#readAll(admission)
    if (body instanceof Refusal) return body
    if (body === null) return tooLarge()
    share.arrived()
    if (body.length > 0 && (head.method === 'GET' || head.method === 'HEAD')) {
      return new Refusal('MESSAGE_MALFORMED', `${head.method} with a body`)
    }
    return body
  }

  /** Reads the body piece by piece. Nothing is read from the connection before it is asked for. */
  chunks(): BodyChunks {
    const request = this.#request
    const waiting: { current: PromiseWithResolvers<Uint8Array | null> | null } = { current: null }
    const held: Uint8Array[] = []
    let bytes = 0
    let pieces = 0
    const settle = (act: (asked: PromiseWithResolvers<Uint8Array | null>) => void): void => {
      const asked = waiting.current
      waiting.current = null
      if (asked !== null) act(asked)
    }
    const add = (chunk: Uint8Array): void => {
      countPiece(request, chunk.length)
      pieces += 1
      bytes += chunk.length
      request.pause()
      if ((pieces - piecesLimit.value) * bytesOfPieceMin > bytes) {
        return settle((asked) => asked.reject(new Error('the request comes in too small pieces')))
      }
      if (waiting.current === null) held.push(chunk)
      else settle((asked) => asked.resolve(chunk))
    }
    // A listener alone would make it flow.
    request.pause()
    request.on('data', add)
    this.#reader = {
      whole: () => settle((asked) => asked.resolve(null)),
      fail: () => settle((asked) => asked.reject(brokenOff())),
    }
    if (!this.#ended) inviteBody(request)
    return {
      next: () => {
        const chunk = held.shift()
        if (chunk !== undefined) return Promise.resolve(chunk)
        if (this.#broken) return Promise.reject(brokenOff())
        if (this.#ended) return Promise.resolve(null)
        const asked = Promise.withResolvers<Uint8Array | null>()
        waiting.current = asked
        request.resume()
        return asked.promise
      },
      stop: () => {
        waiting.current = null
        held.length = 0
        request.off('data', add)
        this.#reader = null
        // The rest is discarded as it comes; the connection ends with the response.
        if (!this.#ended) request.resume()
      },
    }
  }

  /** True once the whole request has come. */
  get hasEnded(): boolean {
    return this.#ended
  }

  /**
   * Null beyond the bound. The rest of a refused body is discarded until the refusal is out, since
   * a connection that is cut at once takes the refusal with it. Read by its events: an async
   * iterator costs several times as much, and most bodies are one chunk.
   */
  #readAll({ bodyBytesMax, share }: Admission): Promise<Uint8Array | Refusal | null> {
    const request = this.#request
    if (this.#broken) return Promise.reject(brokenOff())
    return new Promise<Uint8Array | Refusal | null>((resolve, reject) => {
      const body = new ArrivingBytes(bodyBytesMax)
      const timer = setTimeout(() => {
        const late = { name: 'http.bodyMs', value: share.timeoutMs, unit: 'ms' } as const
        share.evict(overLimit('OVERLOADED', late, 'the body is not whole', 0))
      }, share.timeoutMs)
      timer.unref()
      const settle = (outcome: Uint8Array | Refusal | null): void => {
        clearTimeout(timer)
        request.off('data', add)
        // Every request closes; an error without a reader would cost a stack trace each time.
        this.#reader = null
        if (!this.#ended) request.resume()
        resolve(outcome)
      }
      const fail = (): void => {
        clearTimeout(timer)
        this.#reader = null
        reject(brokenOff())
      }
      let pieces = 0
      const add = (chunk: Uint8Array): void => {
        pieces += 1
        countPiece(request, chunk.length)
        if (!body.add(chunk)) settle(null)
        else if (pieces > piecesLimit.value) settle(overLimit('MESSAGE_TOO_LARGE', piecesLimit))
        else share.take(chunk.length)
      }
      // Evicted for its head: nothing of the body may be held, since it would not be counted.
      if (share.evicted !== null) return settle(share.evicted)
      share.onEvicted((refusal) => settle(refusal))
      this.#reader = { whole: () => settle(body.take()), fail }
      request.on('data', add)
      if (!this.#ended) inviteBody(request)
    })
  }
}

function isSmall(length: string): boolean {
  return Number(length) <= discardedBytesMax
}

function brokenOff(): Error {
  return new Error('the request broke off')
}
