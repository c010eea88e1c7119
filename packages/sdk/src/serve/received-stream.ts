import { IncomingMessage } from 'node:http'
import { type FrameFormat, frameFormatOf } from '@countersign/protocol'
import type { BodyAccount } from '../connection/body-memory.ts'
import { FrameReader, parseLines } from '../frames/cut-frames.ts'
import { type FrameRecord, FrameTally } from '../frames/frame-tally.ts'
import { type PassingFrames, passingFrames } from '../frames/passing-frames.ts'
import { AgentError } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'
import type { AnswerFrames } from './countersign.ts'

/** The formats that come over HTTP/1.1: messages of gRPC need HTTP/2. */
export function receivedFormat(contentType: string | undefined): FrameFormat | null {
  const format = frameFormatOf(contentType)
  return format?.name === 'grpc' ? null : format
}

interface ReceivedBy {
  readonly format: FrameFormat
  readonly frameBytesMax: number
  readonly account: BodyAccount
  readonly answered: AnsweredFrames
}

/** Counts the frames of the response to a stream, whatever writes it. */
export class AnsweredFrames implements AnswerFrames {
  readonly #frameBytesMax: number
  #passing: PassingFrames | null = null

  constructor(frameBytesMax: number) {
    this.#frameBytesMax = frameBytesMax
  }

  begin(contentType: string): boolean {
    const format = receivedFormat(contentType)
    this.#passing = format === null ? null : passingFrames(format, this.#frameBytesMax)
    return this.#passing !== null
  }

  count(bytes: Uint8Array): Uint8Array {
    this.#passing?.take(bytes)
    return bytes
  }

  end(): void {
    this.#passing?.end()
  }

  /** Null unless the response is of frames. */
  record(): FrameRecord | null {
    return this.#passing?.tally?.record() ?? null
  }
}

/**
 * The frames of a streamed request, in order, each inspected and forwarded by the fabric before the
 * next. To be read once, in one form. Nothing is read from the fabric before it is asked for.
 */
export class ReceivedStream {
  readonly format: 'ndjson' | 'blocks'
  readonly #format: FrameFormat
  readonly #raw: IncomingMessage
  readonly #account: BodyAccount
  readonly #frameBytesMax: number
  readonly #tally = new FrameTally()
  readonly #answered: AnsweredFrames
  #isTaken = false

  constructor(raw: IncomingMessage, { format, frameBytesMax, account, answered }: ReceivedBy) {
    this.format = format.name === 'ndjson' ? 'ndjson' : 'blocks'
    this.#format = format
    this.#raw = raw
    this.#frameBytesMax = frameBytesMax
    this.#account = account
    this.#answered = answered
  }

  /**
   * Lines without their ends, or blocks of bytes. Throws BODY_UNFINISHED when the request breaks
   * off: the fabric ended it, or its caller did, and what came is not the whole.
   */
  frames(): AsyncGenerator<Uint8Array, void, undefined> {
    if (this.#isTaken) throw new AgentError('BODY_CONSUMED')
    this.#isTaken = true
    return this.#read()
  }

  /** The values of JSON lines. Throws as `frames`, and REQUEST_MALFORMED for other content. */
  values(): AsyncGenerator<unknown, void, undefined> {
    if (this.format !== 'ndjson') throw new AgentError('REQUEST_MALFORMED', 'no lines of JSON')
    return parseLines(this.frames(), 'REQUEST_MALFORMED')
  }

  /** The bytes of the frames, with what separates them. */
  async *bytes(): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const data of this.frames()) yield this.#format.format({ data })
  }

  /**
   * The frames that came, and those of the response, to be kept and compared with the receipt
   * (`verify`). The response is null unless it is of frames.
   */
  frameRecords(): { readonly request: FrameRecord; readonly response: FrameRecord | null } {
    return { request: this.#tally.record(), response: this.#answered.record() }
  }

  async *#read(): AsyncGenerator<Uint8Array, void, undefined> {
    const reader = new FrameReader(this.#format, {
      frameBytesMax: this.#frameBytesMax,
      of: 'REQUEST',
    })
    // To stop reading must not end the connection, which may still carry the response.
    const chunks = this.#raw.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>
    const timer = setTimeout(() => this.#raw.destroy(), LIMITS.streamIdleMsMax)
    timer.unref()
    try {
      for await (const chunk of chunks) {
        timer.refresh()
        this.#hold(reader.heldBytes + chunk.length)
        for (const { data } of reader.read(chunk)) {
          this.#tally.add(data)
          yield data
        }
        this.#hold(reader.heldBytes)
      }
    } catch (cause) {
      if (cause instanceof AgentError) throw cause
      throw new AgentError('BODY_UNFINISHED', '', { cause })
    } finally {
      clearTimeout(timer)
    }
    if (!this.#raw.complete) throw new AgentError('BODY_UNFINISHED')
    for (const { data } of reader.end()) {
      // The fabric ends every line: this one was cut.
      if (this.format === 'ndjson') throw new AgentError('BODY_UNFINISHED', 'within a line')
      this.#tally.add(data)
      yield data
    }
  }

  #hold(bytes: number): void {
    if (!this.#account.hold(bytes)) throw new AgentError('MEMORY_FULL')
  }
}
