import {
  concat,
  type FrameFormat,
  frameFormatOf,
  streamedMethods,
  utf8,
} from '@countersign/protocol'
import type { SentBody } from '../connection/send-body.ts'
import { AgentError } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'
import { sha256 } from '../lib/sha256.ts'
import { FrameReader, frameBytesFault } from './cut-frames.ts'
import { FrameTally } from './frame-tally.ts'

/** Pieces of a body, of any size: where frames begin and end is up to their format. */
export type BodyPieces = AsyncIterable<Uint8Array | string>

/** The cut of the fabric. */
interface CutBy {
  readonly format: FrameFormat
  readonly frameBytesMax: number
}

/**
 * The body of a streamed request: cut into the frames that the fabric will see, so that its sender
 * knows their transcript. Reads its source once, and no further than the connection takes it.
 */
export class OutgoingFrames implements SentBody {
  readonly format: FrameFormat
  /** Of the response as well. */
  readonly frameBytesMax: number
  readonly tally = new FrameTally(LIMITS.recentFramesMax)
  readonly #pieces: AsyncIterator<Uint8Array | string>
  readonly #reader: FrameReader
  #firstBytes: Uint8Array | null = null
  #firstDigest: Uint8Array | null = null
  #hasEnded = false

  constructor(pieces: BodyPieces, { format, frameBytesMax }: CutBy) {
    this.format = format
    this.frameBytesMax = frameBytesMax
    this.#pieces = pieces[Symbol.asyncIterator]()
    this.#reader = new FrameReader(format, { frameBytesMax, of: 'REQUEST' })
  }

  /** SHA-256 of the first frame. */
  get firstDigest(): Uint8Array {
    if (this.#firstDigest === null) throw new TypeError('the first frame is not known yet')
    return this.#firstDigest
  }

  /**
   * Reads up to the first frame, without which the fabric decides nothing. Rejects with the error
   * of the source, the reason of `signal`, or REQUEST_MALFORMED for a stream without frames.
   */
  async open(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    const { promise: left, reject } = Promise.withResolvers<never>()
    const leave = (): void => reject(signal?.reason)
    signal?.addEventListener('abort', leave, { once: true })
    try {
      this.#firstBytes = await Promise.race([this.#read(), left])
    } catch (error) {
      this.stop()
      throw error
    } finally {
      signal?.removeEventListener('abort', leave)
    }
    if (this.#firstBytes === null) {
      throw new AgentError('REQUEST_MALFORMED', 'a streamed request has at least one frame')
    }
  }

  /** The bytes of the next frames; null after the last one. */
  async next(): Promise<Uint8Array | null> {
    const first = this.#firstBytes
    this.#firstBytes = null
    return first ?? this.#read()
  }

  stop(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    // A source that waits for its next piece must not hold up the call.
    this.#pieces.return?.().then(undefined, () => undefined)
  }

  async #read(): Promise<Uint8Array | null> {
    try {
      for (;;) {
        if (this.#hasEnded) return null
        const next = await this.#pieces.next()
        if (next.done === true) this.#hasEnded = true
        const cut = next.done === true ? this.#reader.end() : this.#reader.read(toBytes(next.value))
        const frames = Array.from(cut, (frame) => this.#passed(frame))
        if (frames.length > 0) return frames.length === 1 ? (frames[0] ?? null) : concat(...frames)
      }
    } catch (error) {
      this.stop()
      throw error
    }
  }

  #passed(frame: Parameters<FrameFormat['format']>[0]): Uint8Array {
    this.#firstDigest ??= sha256(frame.data)
    this.tally.add(frame.data)
    return this.format.format(frame)
  }
}

interface StreamedHead {
  readonly method: string
  readonly contentType: string | null
  /** The bound of the route, if it is another one: blocks are of this size. */
  readonly frameBytes?: number | undefined
}

/**
 * The frames of `pieces` by their content type. Throws REQUEST_MALFORMED for a request that the
 * fabric would not take as a stream.
 */
export function streamOf(
  pieces: BodyPieces,
  { method, contentType, frameBytes = LIMITS.frameBytesMax }: StreamedHead,
): OutgoingFrames {
  const malformed = (detail: string): AgentError => new AgentError('REQUEST_MALFORMED', detail)
  const fault = frameBytesFault(frameBytes)
  if (fault !== null) throw malformed(fault)
  if (!streamedMethods.has(method)) throw malformed(`a ${method} has no stream`)
  const format = frameFormatOf(contentType)
  if (format === null) {
    throw malformed(
      `${contentType} has no frames: read the body whole first, or send JSON lines or octets`,
    )
  }
  if (format.name === 'grpc') {
    throw malformed('messages of gRPC need HTTP/2: send them with a client of gRPC to the gateway')
  }
  return new OutgoingFrames(pieces, { format, frameBytesMax: frameBytes })
}

function toBytes(piece: unknown): Uint8Array {
  if (typeof piece === 'string') return utf8(piece)
  // The author of the call may use it again.
  if (piece instanceof Uint8Array) return piece.slice()
  throw new AgentError('REQUEST_MALFORMED', 'a piece of the body is neither bytes nor text')
}

/** One line of JSON for each value. */
export async function* toLines(
  values: AsyncIterable<unknown> | Iterable<unknown>,
): AsyncGenerator<string, void, undefined> {
  for await (const value of values) {
    const line: unknown = JSON.stringify(value)
    if (typeof line !== 'string') {
      throw new AgentError('REQUEST_MALFORMED', 'a value of the stream has no form in JSON')
    }
    yield `${line}\n`
  }
}
