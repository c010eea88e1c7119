import {
  type ChannelDescriptor,
  type MessageId,
  type RefusalCode,
  SEALED_BATCH_MAX,
  type SealedPadding,
} from '@countersign/protocol'
import { RefusedError } from '../connection/refused.ts'
import type { Clock } from '../lib/clock.ts'
import { AgentError } from '../lib/fault.ts'
import type { ChannelCalls, Published } from './channel-calls.ts'
import { isSealSuite, type SealSuiteId } from './hpke.ts'
import { createSealer, type Random, type Sealed, type Sealer, type SealRequest } from './seal.ts'
import type { SealingIdentity } from './seal-keys.ts'
import { SendWindows } from './send-windows.ts'

export interface SenderOptions {
  readonly calls: ChannelCalls
  readonly identity: SealingIdentity
  readonly channel: string
  readonly padding: SealedPadding
  readonly signatures: Signatures
  readonly clock: Clock
  readonly random: Random
}

/**
 * `window`: messages that are sent while others are under way share one signature and one request;
 * each still proves alone. `each`: every message has a signature and a request of its own.
 */
export type Signatures = 'window' | 'each'

/** The result for one message. */
export interface SentMessage {
  readonly messageId: MessageId
  readonly offset: number
  /** `duplicate`: it was stored before, under the same idempotency key, with the same body. */
  readonly state: 'stored' | 'duplicate'
  /**
   * The exchange under which the fabric recorded it, for a receipt; null when the transport did not
   * state it.
   */
  readonly exchange: string | null
}

/**
 * Meaning of a state without an offset to the sender; the fabric answered it inside of a success.
 */
const refusedStates = {
  conflict: { code: 'IDEMPOTENCY_CONFLICT', status: 409 },
  full: { code: 'CHANNEL_FULL', status: 507 },
} as const satisfies Record<string, { readonly code: RefusalCode; readonly status: number }>

/**
 * Seals and publishes. Keeps one session per epoch, whose key every member has before it is used.
 */
export class ChannelSender {
  readonly #options: SenderOptions
  readonly #windows = new SendWindows((orders) => this.#publish(orders))
  /** The session in use; null when the next message has to begin one. */
  #sealer: Sealer | null = null
  /** Set while a session begins, so that callers who come at once share it. */
  #beginning: Promise<Sealer> | null = null

  constructor(options: SenderOptions) {
    this.#options = options
  }

  async send(order: SealRequest): Promise<SentMessage> {
    if (this.#options.signatures === 'window') return this.#windows.send(order)
    const [sent] = await this.#publish([order])
    if (sent === undefined) throw new AgentError('ANSWER_MALFORMED', 'no result')
    if (sent instanceof RefusedError) throw sent
    return sent
  }

  /** In their order; a message that was not taken has its refusal in its place. */
  sendBatch(orders: readonly SealRequest[]): Promise<readonly (SentMessage | RefusedError)[]> {
    if (orders.length === 0 || orders.length > SEALED_BATCH_MAX) {
      throw new AgentError('REQUEST_MALFORMED', `a batch has 1 to ${SEALED_BATCH_MAX} messages`)
    }
    return this.#publish(orders)
  }

  async #publish(orders: readonly SealRequest[]): Promise<readonly (SentMessage | RefusedError)[]> {
    const sealer = await this.#sealerFor(orders.length)
    const sealed = sealAll(sealer, orders)
    try {
      return this.#conclude(sealer, sealed, await this.#send(sealed))
    } catch (error) {
      if (!(error instanceof RefusedError) || error.code !== 'EPOCH_STALE') throw error
      // Once, under the next epoch's key, and with the same ids: a retry must not become a second
      // message. If the epoch moved again meanwhile, the caller receives the error.
      this.#drop(sealer)
      const fresh = await this.#sealerFor(orders.length)
      const again = orders.map((order, i) => ({
        ...order,
        messageId: sealed[i]?.messageId ?? order.messageId,
      }))
      const resealed = sealAll(fresh, again)
      return this.#conclude(fresh, resealed, await this.#send(resealed))
    }
  }

  #send(sealed: readonly Sealed[]): Promise<Published> {
    return this.#options.calls.publish(sealed.map(({ bytes }) => bytes))
  }

  #conclude(
    sealer: Sealer,
    sealed: readonly Sealed[],
    { epoch, results, exchange }: Published,
  ): readonly (SentMessage | RefusedError)[] {
    if (epoch !== sealer.epoch) this.#drop(sealer)
    return results.map(({ state, offset }, i) => {
      const messageId = sealed[i]?.messageId
      if (state === 'conflict' || state === 'full') {
        const { code, status } = refusedStates[state]
        return new RefusedError(code, { known: true, status, exchange, retryAfterMs: null })
      }
      if (messageId === undefined || offset === null) {
        throw new AgentError('ANSWER_MALFORMED', 'a stored message without an offset')
      }
      return { messageId, offset, state, exchange }
    })
  }

  async #sealerFor(count: number): Promise<Sealer> {
    if (this.#sealer !== null && this.#sealer.left >= count) return this.#sealer
    this.#beginning ??= this.#openSession().finally(() => {
      this.#beginning = null
    })
    this.#sealer = await this.#beginning
    return this.#sealer
  }

  #drop(sealer: Sealer): void {
    if (this.#sealer === sealer) this.#sealer = null
  }

  /** The key goes into the log before the sealer is given to anyone: no message without its key. */
  async #openSession(): Promise<Sealer> {
    const { calls, identity, channel, padding, clock, random } = this.#options
    for (let attempt = 0; ; attempt++) {
      const descriptor = await calls.describe()
      const { epoch, members } = descriptor
      const suite = suiteOf(descriptor)
      const sealer = createSealer({ identity, channel, epoch, suite, padding, clock, random })
      try {
        await calls.putKey(await sealer.keyMessage(members))
        return sealer
      } catch (error) {
        const isStale = error instanceof RefusedError && error.code === 'EPOCH_STALE'
        if (!isStale || attempt >= epochRacesMax) throw error
      }
    }
  }
}

function sealAll(sealer: Sealer, orders: readonly SealRequest[]): readonly Sealed[] {
  const [one] = orders
  return orders.length === 1 && one !== undefined ? [sealer.seal(one)] : sealer.sealBatch(orders)
}

/** An epoch that moves while its key is being wrapped is asked for again this many times. */
const epochRacesMax = 2

/** The first allowed suite that we know and every member has a key for. */
function suiteOf({ suites, members }: ChannelDescriptor): SealSuiteId {
  for (const suite of suites) {
    if (isSealSuite(suite) && members.every(({ sealing }) => sealing.suite === suite)) return suite
  }
  throw new AgentError('REQUEST_MALFORMED', 'the channel allows no suite that all members can open')
}
