import { PUBLISH_LIMITS, SEALED_BATCH_MAX } from '@countersign/protocol'
import { RefusedError } from '../connection/refused.ts'
import { AgentError } from '../lib/fault.ts'
import type { SentMessage } from './channel-sender.ts'
import type { SealRequest } from './seal.ts'

/** Windows of one channel that are under way at a time; other messages wait for the next. */
const underWayMax = 4
/** Messages that wait on one channel, and the bytes of their bodies. */
const waitingMax = 65_536
const waitingBytesMax = 256 * 1024 * 1024
/** Names, header, signature and proof of one message, above its padded body. */
const overheadBytes = 6 * 1024

/** Refusals that concern one message of a window: the others are sent again without it. */
const ofOneMessage: ReadonlySet<string> = new Set(['MESSAGE_TOO_LARGE', 'MESSAGE_MALFORMED'])

/** Seals and publishes the orders under one signature; one result for each, in their order. */
export type Publish = (
  orders: readonly SealRequest[],
) => Promise<readonly (SentMessage | RefusedError)[]>

interface Waiting {
  readonly order: SealRequest
  readonly resolve: (sent: SentMessage) => void
  readonly reject: (error: unknown) => void
}

/**
 * Gathers what is sent in one turn, or while earlier windows are under way, under one signature
 * and into one request. When nothing is under way, a message waits for the end of its turn only.
 *
 * The messages of one window have the same labels: policy decides on labels, and a denial of one
 * must not refuse another.
 */
export class SendWindows {
  readonly #publish: Publish
  /** By labels, in the order in which their next message came. */
  readonly #waiting = new Map<string, Waiting[]>()
  #count = 0
  #bytes = 0
  #underWay = 0
  #isScheduled = false

  constructor(publish: Publish) {
    this.#publish = publish
  }

  /** Rejects with BACKLOG_FULL, and sends nothing, where too much waits already. */
  send(order: SealRequest): Promise<SentMessage> {
    const { length } = order.body
    if (this.#count >= waitingMax || this.#bytes + length > waitingBytesMax) {
      return Promise.reject(new AgentError('BACKLOG_FULL', `${this.#count} messages wait`))
    }
    return new Promise((resolve, reject) => {
      // No label has a blank in it.
      const labels = order.labels.join(' ')
      const waiting = this.#waiting.get(labels) ?? []
      waiting.push({ order, resolve, reject })
      this.#waiting.set(labels, waiting)
      this.#count++
      this.#bytes += length
      this.#schedule()
    })
  }

  #schedule(): void {
    if (this.#isScheduled || this.#count === 0 || this.#underWay >= underWayMax) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      while (this.#count > 0 && this.#underWay < underWayMax) void this.#carry(this.#take())
    })
  }

  /** The next labels' oldest messages, as many as one request takes. */
  #take(): readonly Waiting[] {
    const next = this.#waiting.entries().next()
    if (next.done === true) return []
    const [labels, waiting] = next.value
    let count = 0
    let room = PUBLISH_LIMITS.bytesMax
    for (const { order } of waiting) {
      // Padding at most doubles a body. A message that is too large for any request goes alone, and
      // is refused by name.
      room -= 2 * order.body.length + overheadBytes
      if (count >= SEALED_BATCH_MAX || (count > 0 && room < 0)) break
      count++
    }
    const taken = waiting.splice(0, count)
    // Behind the others, so that no labels wait for all messages of others.
    this.#waiting.delete(labels)
    if (waiting.length > 0) this.#waiting.set(labels, waiting)
    this.#count -= count
    for (const { order } of taken) this.#bytes -= order.body.length
    return taken
  }

  async #carry(window: readonly Waiting[]): Promise<void> {
    this.#underWay++
    await this.#conclude(window)
    this.#underWay--
    this.#schedule()
  }

  /** Resolves once each of `window` is settled; never rejects. */
  async #conclude(window: readonly Waiting[]): Promise<void> {
    try {
      const results = await this.#publish(window.map(({ order }) => order))
      for (const [i, { resolve, reject }] of window.entries()) {
        const result = results[i] ?? new AgentError('ANSWER_MALFORMED', 'no result')
        if (result instanceof Error) reject(result)
        else resolve(result)
      }
    } catch (error) {
      if (window.length === 1 || !isOfOneMessage(error)) {
        for (const { reject } of window) reject(error)
        return
      }
      // Halves: the message that was refused is alone after as many requests as its depth asks for.
      const half = window.length >> 1
      await this.#conclude(window.slice(0, half))
      await this.#conclude(window.slice(half))
    }
  }
}

function isOfOneMessage(error: unknown): boolean {
  return error instanceof RefusedError && ofOneMessage.has(error.code)
}
