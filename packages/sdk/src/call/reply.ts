import { parseUtf8 } from '@countersign/protocol'
import { readAll } from '../connection/body.ts'
import { answerMemoryOf } from '../connection/body-memory.ts'
import { parseRefusalEvent, type RefusedError } from '../connection/refused.ts'
import type { Identity } from '../identity/identity.ts'
import { AgentError } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'
import { EventParser, type ServerSentEvent } from './events.ts'
import { type Exchange, toHeaders } from './exchange.ts'
import { checkAbout, fetchReceipt, type Receipt } from './receipt.ts'

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
  #events: AsyncGenerator<ServerSentEvent> | null = null

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
    if (this.#events !== null) return Promise.reject(new AgentError('BODY_CONSUMED'))
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
    if (this.#bytes !== null || this.#events !== null) throw new AgentError('BODY_CONSUMED')
    if (!this.#exchange.isEventStream) {
      throw new AgentError('ANSWER_MALFORMED', 'the reply is not an event stream')
    }
    this.#events = this.#readEvents()
    return this.#events
  }

  /**
   * The receipt of this exchange, fetched, verified offline against the pinned trust, and compared
   * with what was sent and received: own signature, own digest, status, and the body or events that
   * actually arrived. Reads the body first unless `events` does. Throws RECEIPT_PENDING,
   * RECEIPT_REJECTED or RECEIPT_MISMATCHED.
   */
  async receipt(): Promise<Receipt> {
    if (this.#events === null) await this.bytes()
    return receiptOf(this.#exchange, this.#identity)
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

export async function receiptOf(exchange: Exchange, identity: Identity): Promise<Receipt> {
  if (exchange.id === null) throw new AgentError('ANSWER_MALFORMED', 'the reply names no exchange')
  const receipt = await fetchReceipt(identity, exchange.id)
  checkAbout(receipt, exchange, identity)
  return receipt
}
