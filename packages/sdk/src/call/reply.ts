import { parseUtf8 } from '@countersign/protocol'
import { readAll } from '../connection/body.ts'
import { answerMemoryOf } from '../connection/body-memory.ts'
import { parseRefusalEvent, type RefusedError } from '../connection/refused.ts'
import { FrameReader, parseLines } from '../frames/cut-frames.ts'
import type { FrameRecord } from '../frames/frame-tally.ts'
import type { Identity } from '../identity/identity.ts'
import { AgentError } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'
import { EventParser, type ServerSentEvent } from './events.ts'
import { type Exchange, toHeaders } from './exchange.ts'
import { checkAbout, fetchReceipt, type Receipt, type ReceiptOptions } from './receipt.ts'

/** The response of an agent. It may have any status; a refusal is never a Reply. */
export class Reply {
  readonly status: number
  readonly headers: Headers
  /** The id that this exchange is recorded under. */
  readonly exchange: string | null
  readonly #exchange: Exchange
  readonly #identity: Identity
  readonly #bytesMax: number
  #bytes: Promise<Uint8Array> | null = null
  /** The iterator that reads the body, where it is not read whole. */
  #parts: AsyncGenerator<unknown> | null = null

  constructor(exchange: Exchange, identity: Identity, bytesMax: number = LIMITS.bodyBytesMax) {
    this.status = exchange.status
    this.headers = toHeaders(exchange.headers)
    this.exchange = exchange.id
    this.#exchange = exchange
    this.#identity = identity
    this.#bytesMax = bytesMax
  }

  /**
   * The body; may be called again. Throws ANSWER_TOO_LARGE, MEMORY_FULL, BODY_UNFINISHED,
   * BODY_CONSUMED.
   */
  bytes(): Promise<Uint8Array> {
    if (this.#parts !== null) return Promise.reject(new AgentError('BODY_CONSUMED'))
    this.#bytes ??= this.#readBytes()
    return this.#bytes
  }

  async text(): Promise<string> {
    const bytes = await this.bytes()
    try {
      return parseUtf8(bytes)
    } catch (cause) {
      throw new AgentError('ANSWER_MALFORMED', 'the body is not UTF-8', { cause })
    }
  }

  /** Nothing about the value is checked but that it is JSON. */
  async json(): Promise<unknown> {
    const text = await this.text()
    try {
      return JSON.parse(text) as unknown
    } catch (cause) {
      throw new AgentError('ANSWER_MALFORMED', 'the body is not JSON', { cause })
    }
  }

  /**
   * The events of a `text/event-stream`, once. To stop iterating ends the exchange. Throws the
   * RefusedError with which the fabric cuts a stream short.
   */
  events(): AsyncGenerator<ServerSentEvent> {
    if (!this.#exchange.isEventStream) {
      throw new AgentError('ANSWER_MALFORMED', 'the reply is not an event stream')
    }
    return this.#begin(this.#readEvents())
  }

  /**
   * The frames of the body, once, as they come: lines without their ends, or blocks of bytes. May
   * be read while the request is still being sent. To stop iterating ends the exchange. Throws
   * BODY_UNFINISHED when the stream broke off, and REQUEST_UNFINISHED when the request did.
   */
  frames(): AsyncGenerator<Uint8Array> {
    return this.#begin(this.#readFrames())
  }

  /** The values of a body of JSON lines, once, as `frames`. */
  values(): AsyncGenerator {
    if (this.#exchange.format?.name !== 'ndjson') {
      throw new AgentError('ANSWER_MALFORMED', 'the reply has no lines of JSON')
    }
    return this.#begin(parseLines(this.#readFrames(), 'ANSWER_MALFORMED'))
  }

  /**
   * The frames that were sent and received, to be kept and compared with the receipt later
   * (`verify`). Null for a message that was whole. Final once the body has been read.
   */
  frameRecords(): { readonly request: FrameRecord | null; readonly response: FrameRecord | null } {
    const { sentFrames, isEventStream } = this.#exchange
    const response = isEventStream ? null : this.#exchange.proof().frames
    return { request: sentFrames?.tally.record() ?? null, response: response?.record() ?? null }
  }

  /**
   * The receipt of this exchange, fetched, verified offline against the pinned trust, and compared
   * with what was sent and received: own signature, own digest, status, the frames of a streamed
   * request, and the body, frames or events that actually arrived. Reads the body first unless an
   * iterator does. Throws RECEIPT_PENDING, RECEIPT_REJECTED, RECEIPT_MISMATCHED or
   * FRAMES_MISMATCHED.
   */
  async receipt(options?: ReceiptOptions): Promise<Receipt> {
    if (this.#parts === null) await this.bytes()
    return receiptOf(this.#exchange, this.#identity, options)
  }

  #begin<Part>(parts: AsyncGenerator<Part>): AsyncGenerator<Part> {
    if (this.#bytes !== null || this.#parts !== null) throw new AgentError('BODY_CONSUMED')
    this.#parts = parts
    return parts
  }

  async #readBytes(): Promise<Uint8Array> {
    const { body, receiver } = this.#exchange
    const account = answerMemoryOf(this.#identity.connection).open(receiver, false)
    try {
      return await readAll(body, this.#bytesMax, 'ANSWER_TOO_LARGE', account)
    } catch (error) {
      this.#exchange.discard()
      throw error
    } finally {
      account.close()
    }
  }

  async *#readFrames(): AsyncGenerator<Uint8Array> {
    const { format, body, sentFrames } = this.#exchange
    if (format === null) throw new AgentError('ANSWER_MALFORMED', 'the reply has no frames')
    const reader = new FrameReader(format, {
      frameBytesMax: sentFrames?.frameBytesMax ?? LIMITS.frameBytesMax,
      of: 'ANSWER',
    })
    try {
      for await (const chunk of body) {
        for (const { data } of reader.read(chunk)) yield data
      }
      for (const { data } of reader.end()) yield data
    } finally {
      this.#exchange.discard()
    }
  }

  async *#readEvents(): AsyncGenerator<ServerSentEvent> {
    const parser = new EventParser(LIMITS.eventBytesMax)
    let refusal: RefusedError | null = null
    try {
      for await (const chunk of this.#exchange.body) {
        for (const { event } of parser.read(chunk)) {
          // Read to the end before throwing: the transcript has to be compared up to its last
          // event.
          refusal ??= event === null ? null : parseRefusalEvent(event, this.#exchange)
          if (event !== null && refusal === null) yield event
        }
      }
      if (refusal !== null) throw refusal
      parser.end()
    } finally {
      this.#exchange.discard()
    }
  }
}

export async function receiptOf(
  exchange: Exchange,
  identity: Identity,
  options?: ReceiptOptions,
): Promise<Receipt> {
  if (exchange.id === null) throw new AgentError('ANSWER_MALFORMED', 'the reply names no exchange')
  const receipt = await fetchReceipt(identity, exchange.id)
  checkAbout(receipt, exchange, identity, options)
  return receipt
}
