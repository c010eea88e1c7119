import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { endMemory } from './arriving-bytes.ts'

/** Bytes of further requests that a connection may send while one is being answered. */
export const pipelinedBytesMax: number = 256 * 1024

const headEnd = '\r\n\r\n'

/**
 * Feeds the HTTP/1.1 parser of one connection so that it never sees a further request while one is
 * being answered. Node's parser turns a whole read of 64 KiB into requests at once: 43 kB of
 * pipelined requests become 1,600 responses that the peer need not read.
 *
 * Every head, and every chunked body, ends with an empty line. A piece that ends at the first empty
 * line completes at most one head (two, when the empty line itself was cut in two by the network).
 * The bytes after it wait here, and the socket is paused.
 */
export class PipelineGate {
  readonly #socket: Socket
  readonly #feed: (piece: Buffer) => void
  #current: IncomingMessage | null = null
  #held: Buffer[] = []
  #heldBytes = 0
  #isPaused = false
  #isFeeding = false
  #isDiscarding = false
  #isDraining = false

  private constructor(socket: Socket, feed: (piece: Buffer) => void) {
    this.#socket = socket
    this.#feed = feed
  }

  /**
   * Null when no HTTP/1.1 parser reads this socket. To be called after the server has attached it.
   */
  static attach(socket: Socket): PipelineGate | null {
    const listeners = socket.listeners('data') as ((piece: Buffer) => void)[]
    const parse = listeners.at(-1)
    if (parse === undefined) return null
    const gate = new PipelineGate(socket, (piece) => parse.call(socket, piece))
    // First ours: a listener makes the parser give up reading the handle by itself.
    socket.on('data', (chunk: Buffer) => gate.#arrive(chunk))
    socket.off('data', parse)
    return gate
  }

  /** From now on `request` is being answered. */
  begin(request: IncomingMessage): void {
    this.#current = request
  }

  /** Its response has left; the next request may be parsed. */
  end(): void {
    this.#current = null
    this.#pump()
  }

  /** Nothing that this connection still sends is read, only taken off the wire. */
  discard(): void {
    this.#isDiscarding = true
    this.#held = []
    this.#heldBytes = 0
    this.#isPaused = false
    this.#socket.resume()
  }

  #arrive(chunk: Buffer): void {
    if (this.#isDiscarding) return
    this.#held.push(chunk)
    this.#heldBytes += chunk.length
    // A body that is being read resumes the socket; a peer cannot grow this by it for ever.
    if (this.#heldBytes > pipelinedBytesMax) {
      this.#socket.destroy()
      return
    }
    this.#pump()
  }

  #pump(): void {
    if (this.#isFeeding) return
    this.#isFeeding = true
    try {
      for (;;) {
        const [first] = this.#held
        if (first === undefined || this.#socket.destroyed) break
        if (this.#mustWait()) {
          this.#isPaused = true
          this.#socket.pause()
          return
        }
        this.#feedPiece(first)
      }
    } finally {
      this.#isFeeding = false
    }
    if (this.#isPaused) {
      this.#isPaused = false
      this.#socket.resume()
    }
  }

  #mustWait(): boolean {
    const { _paused: isPausedByServer = false } = this.#socket as { _paused?: boolean }
    if (isPausedByServer) {
      // Node waits for its own output to drain, and refuses to parse until then.
      this.#pumpOnDrain()
      return true
    }
    return this.#current?.complete ?? false
  }

  #pumpOnDrain(): void {
    if (this.#isDraining) return
    this.#isDraining = true
    this.#socket.once('drain', () => {
      this.#isDraining = false
      setImmediate(() => this.#pump())
    })
  }

  #feedPiece(first: Buffer): void {
    const at = first.indexOf(headEnd, 0, 'latin1')
    const end = at < 0 ? first.length : at + headEnd.length
    if (end === first.length) this.#held.shift()
    else this.#held[0] = first.subarray(end)
    this.#heldBytes -= end
    this.#feed(end === first.length ? first : first.subarray(0, end))
    // The parser has copied the part of the body in it. A head, or what may follow an upgrade, is
    // left to the collector.
    if (at < 0 && this.#current?.complete === false) endMemory(first)
  }
}
