import type { NodeRequest } from '../http/incoming.ts'

export interface ArrivingBodiesOptions {
  /** Bytes that strangers may have sent together of bodies that are not whole yet. */
  readonly strangerBytesMax: number
  /** A body that takes longer is never read to its end. */
  readonly timeoutMs: number
}

/**
 * Bounds what has not arrived yet. Bodies are read before their sender is known, and Node puts a
 * time limit on requests of HTTP/1.1 only: over HTTP/2 a stranger could keep any number of bodies
 * half sent, for as long as it likes. Whoever shows a certificate is known, and takes no share.
 * What is counted is what was sent; `ArrivingBytes` keeps what it takes up within twice of that.
 */
export class ArrivingBodies {
  readonly #options: ArrivingBodiesOptions
  #strangerBytes = 0

  constructor(options: ArrivingBodiesOptions) {
    this.#options = options
  }

  /** Bytes of strangers that have arrived, of bodies that are not whole yet. */
  get strangerBytes(): number {
    return this.#strangerBytes
  }

  /**
   * Breaks the request off when it takes too long or too much. Gives what to call once it is read,
   * or given up. To be called in the turn in which the request came in, before anybody reads it.
   */
  watch(request: NodeRequest, isStranger: boolean): () => void {
    const { strangerBytesMax, timeoutMs } = this.#options
    let held = 0
    const count = (chunk: Uint8Array): void => {
      held += chunk.length
      this.#strangerBytes += chunk.length
      if (this.#strangerBytes > strangerBytesMax) request.destroy()
    }
    if (isStranger) request.on('data', count)
    const timer =
      request.httpVersionMajor < 2
        ? undefined
        : setTimeout(() => request.destroy(), timeoutMs).unref()
    return () => {
      clearTimeout(timer)
      request.off('data', count)
      this.#strangerBytes -= held
      held = 0
    }
  }
}
