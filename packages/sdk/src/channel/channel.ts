import {
  isChannelName,
  isContentType,
  isGroupName,
  isSealedLabel,
  LEASE_MESSAGES_MAX,
  LEASE_MS_MAX,
  LEASE_MS_MIN,
  LEASE_WAIT_MS_MAX,
  SEALED_BODY_BYTES_MAX,
  SEALED_LABELS_MAX,
  type SealedPadding,
  utf8,
} from '@countersign/protocol'
import type { RefusedError } from '../connection/refused.ts'
import { type Clock, systemClock } from '../lib/clock.ts'
import { AgentError } from '../lib/fault.ts'
import { systemRandom } from '../lib/random.ts'
import { type ChannelAuthorityKey, ChannelCalls, type ChannelRequest } from './channel-calls.ts'
import { ChannelReceiver, type ReceivedMessage, type ReceiveOptions } from './channel-receiver.ts'
import { ChannelSender, type SentMessage, type Signatures } from './channel-sender.ts'
import type { Random, SealRequest } from './seal.ts'
import type { SealingIdentity } from './seal-keys.ts'

/** As long as the broker keeps messages by default. */
const lifetimeMsDefault = 7 * 24 * 60 * 60 * 1000
const leaseMsDefault = 30_000
const waitMsDefault = 20_000
const groupsMax = 64

/** The choices that an agent has for a channel. */
export interface ChannelSettings {
  /**
   * The padding; it decides how much the length of a ciphertext reveals. `block` when not given.
   */
  readonly padding?: SealedPadding
  /** `window` when not given. */
  readonly signatures?: Signatures
}

export interface ChannelOptions extends ChannelSettings {
  readonly name: string
  readonly identity: SealingIdentity
  readonly request: ChannelRequest
  readonly authority: ChannelAuthorityKey
  readonly clock?: Clock
  readonly random?: Random
}

export interface SendOptions {
  /**
   * `text/plain; charset=utf-8` for a string, `application/octet-stream` for bytes when not given.
   */
  readonly contentType?: string
  /** Visible to broker and policy, unlike the body. Lower case, in any order. */
  readonly labels?: readonly string[]
  /** This agent's messages with the same key are delivered one after the other. */
  readonly orderingKey?: string
  /**
   * Sending again with the same key and body stores nothing new; with another body it is refused.
   */
  readonly idempotencyKey?: string
  readonly lifetimeMs?: number
}

export interface OutgoingMessage extends SendOptions {
  readonly body: Uint8Array | string
}

/**
 * A channel, end to end encrypted: what is sent can be opened by the members of the moment, only.
 */
export interface Channel {
  readonly name: string
  /**
   * Resolves when the message would survive a power loss of the broker. Messages that are sent
   * while others are under way share one signature and one request, unless `signatures` is `each`.
   */
  send(body: Uint8Array | string, options?: SendOptions): Promise<SentMessage>
  /**
   * As `send`, with one signature for all; a message that was not taken has its refusal in its
   * place.
   */
  sendBatch(messages: readonly OutgoingMessage[]): Promise<readonly (SentMessage | RefusedError)[]>
  /** Opened and verified messages; empty after `waitMs` without any. */
  receive(
    options: Partial<ReceiveOptions> & { readonly group: string },
  ): Promise<readonly ReceivedMessage[]>
}

/**
 * Throws REQUEST_MALFORMED on a name that cannot be a channel; whether it exists shows at first
 * use.
 */
export function openChannel(options: ChannelOptions): Channel {
  const { name, identity, request, authority } = options
  if (!isChannelName(name)) throw new AgentError('REQUEST_MALFORMED', 'the name of the channel')
  const clock = options.clock ?? systemClock
  const { random = systemRandom, signatures = 'window' } = options
  const padding = options.padding ?? 'block'
  const { trustDomain } = identity
  const calls = new ChannelCalls({ request, channel: name, trustDomain, authority })
  const sender = new ChannelSender({
    ...{ calls, identity, channel: name, padding, signatures, clock, random },
  })
  // A group has an opener of its own: two groups of one process must both see every message.
  const receivers = new Map<string, ChannelReceiver>()

  const receiverOf = (group: string): ChannelReceiver => {
    const known = receivers.get(group)
    if (known !== undefined) return known
    if (!isGroupName(group) || receivers.size >= groupsMax) {
      throw new AgentError('REQUEST_MALFORMED', 'the name of the group')
    }
    const receiver = new ChannelReceiver({ calls, identity, channel: name, group, clock })
    receivers.set(group, receiver)
    return receiver
  }

  return {
    name,
    send: async (body, sending = {}) => sender.send(toOrder({ ...sending, body })),
    sendBatch: async (messages) => sender.sendBatch(messages.map(toOrder)),
    receive: async ({ group, countMax = 32, leaseMs = leaseMsDefault, waitMs = waitMsDefault }) =>
      receiverOf(group).receive({
        group,
        countMax: clamp(countMax, 1, LEASE_MESSAGES_MAX),
        leaseMs: clamp(leaseMs, LEASE_MS_MIN, LEASE_MS_MAX),
        waitMs: clamp(waitMs, 0, LEASE_WAIT_MS_MAX),
      }),
  }
}

function toOrder(message: OutgoingMessage): SealRequest {
  const isText = typeof message.body === 'string'
  const body = typeof message.body === 'string' ? utf8(message.body) : message.body
  const typeDefault = isText ? 'text/plain; charset=utf-8' : 'application/octet-stream'
  const contentType = message.contentType ?? typeDefault
  const labels = [...new Set(message.labels)].toSorted()
  if (body.length > SEALED_BODY_BYTES_MAX) throw new AgentError('REQUEST_TOO_LARGE', 'the body')
  if (!isContentType(contentType)) throw new AgentError('REQUEST_MALFORMED', 'contentType')
  if (labels.length > SEALED_LABELS_MAX || !labels.every(isSealedLabel)) {
    throw new AgentError('REQUEST_MALFORMED', 'labels')
  }
  const lifetimeMs = message.lifetimeMs ?? lifetimeMsDefault
  if (!Number.isSafeInteger(lifetimeMs) || lifetimeMs <= 0) {
    throw new AgentError('REQUEST_MALFORMED', 'lifetimeMs')
  }
  return {
    body,
    contentType,
    labels,
    orderingKey: message.orderingKey ?? null,
    idempotencyKey: message.idempotencyKey ?? null,
    lifetimeMs,
    messageId: null,
  }
}

function clamp(value: number, min: number, max: number): number {
  return Math.max(min, Math.min(max, Math.floor(value)))
}
