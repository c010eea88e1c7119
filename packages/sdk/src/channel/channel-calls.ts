import { type KeyObject, verify } from 'node:crypto'
import {
  CHANNEL_FRAMES_TYPE,
  type ChannelDescriptor,
  descriptorSignatureInput,
  encodeFrames,
  encodeLeaseRequest,
  encodeSettlement,
  KEY_LOG_LIMITS,
  type LeasedFrame,
  type LeaseRequest,
  type PublishAnswer,
  parseDescriptor,
  parseFrames,
  parseLeases,
  parsePublishAnswer,
  parseSettlementAnswer,
  parseSignedDescriptor,
  type Settlement,
} from '@countersign/protocol'
import { findRefusal, RefusedError } from '../connection/refused.ts'
import { afterFirst } from '../connection/second-copy.ts'
import { AgentError } from '../lib/fault.ts'

/** An answer as the transport gave it; names of headers in lower case. */
export interface ChannelReply {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: Uint8Array
}

/**
 * One request to the fabric, authenticated by the provider of this function. Rejects when no answer
 * arrived.
 */
export type ChannelRequest = (
  method: 'GET' | 'POST',
  path: string,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array | null,
) => Promise<ChannelReply>

/** The key of the fabric's channel authority, as the trust document pins it. */
export interface ChannelAuthorityKey {
  readonly keyId: string
  readonly publicKey: KeyObject
}

interface CallsOptions {
  readonly request: ChannelRequest
  readonly channel: string
  readonly trustDomain: string
  readonly authority: ChannelAuthorityKey
}

/**
 * The queue's HTTP interface for one channel. Refusals are thrown, as everywhere in this package.
 */
export class ChannelCalls {
  readonly #options: CallsOptions
  readonly #path: string
  /** Of any descriptor seen: an older one in its place would bring removed members back. */
  #newestEpoch = 0

  constructor(options: CallsOptions) {
    this.#options = options
    this.#path = `/v1/channels/${options.channel}`
  }

  /** The present epoch. Rejects with ANSWER_MALFORMED when it is older than one seen before. */
  async describe(): Promise<ChannelDescriptor> {
    const { body } = await this.#get(this.#path)
    const descriptor = this.#parseDescriptor(body)
    if (descriptor.epoch < this.#newestEpoch) {
      throw new AgentError('ANSWER_MALFORMED', 'the channel went back to an older epoch')
    }
    this.#newestEpoch = descriptor.epoch
    return descriptor
  }

  /** An epoch by its number, or null when the fabric does not keep it any more. */
  async findDescriptor(epoch: number): Promise<ChannelDescriptor | null> {
    try {
      const { body } = await this.#get(`${this.#path}?epoch=${epoch}`)
      return this.#parseDescriptor(body)
    } catch (error) {
      if (error instanceof RefusedError && error.code === 'OPERATION_UNKNOWN') return null
      throw error
    }
  }

  async keyMessages(epoch: number): Promise<readonly Uint8Array[]> {
    const { body } = await this.#get(`${this.#path}/keys?epoch=${epoch}`)
    return parsed(parseFrames(body, KEY_LOG_LIMITS), 'the key log')
  }

  async putKey(keyMessage: Uint8Array): Promise<void> {
    await this.#post('/keys', CHANNEL_FRAMES_TYPE, keyMessage)
  }

  async publish(sealed: readonly Uint8Array[]): Promise<Published> {
    const frames = encodeFrames(sealed)
    // Each message has an idempotency key: a second copy is answered as a duplicate, and not
    // stored.
    const reply = await repeating(() => this.#post('/messages', CHANNEL_FRAMES_TYPE, frames))
    const answer = parsed(parsePublishAnswer(reply.body), 'the answer to a publish request')
    if (answer.results.length !== sealed.length) {
      throw new AgentError('ANSWER_MALFORMED', 'another number of results than of messages')
    }
    return { ...answer, exchange: reply.headers['countersign-exchange'] ?? null }
  }

  async lease(request: LeaseRequest): Promise<readonly LeasedFrame[]> {
    const asked = encodeLeaseRequest(request)
    // Messages that a lost response leased come again when that lease runs out.
    const { body } = await repeating(() => this.#post('/leases', 'application/json', asked))
    return parsed(parseLeases(body), 'a lease')
  }

  async settle(settlement: Settlement): Promise<readonly boolean[]> {
    const body = encodeSettlement(settlement)
    const reply = await this.#post('/settlements', 'application/json', body)
    const settled = parsed(parseSettlementAnswer(reply.body), 'the answer to a settlement')
    if (settled.length !== settlement.items.length) {
      throw new AgentError('ANSWER_MALFORMED', 'another number of results than of verdicts')
    }
    return settled
  }

  #get(path: string): Promise<ChannelReply> {
    return this.#send('GET', path, {}, null)
  }

  #post(path: string, contentType: string, body: Uint8Array): Promise<ChannelReply> {
    return this.#send('POST', `${this.#path}${path}`, { 'content-type': contentType }, body)
  }

  async #send(...[method, path, headers, body]: Parameters<ChannelRequest>): Promise<ChannelReply> {
    const reply = await this.#options.request(method, path, headers, body)
    const refusal = findRefusal(reply.status, (name) => reply.headers[name] ?? null)
    if (refusal !== null) throw refusal
    if (reply.status < 200 || reply.status > 299) {
      throw new AgentError('ANSWER_MALFORMED', `status ${reply.status} without a refusal`)
    }
    return reply
  }

  #parseDescriptor(body: Uint8Array): ChannelDescriptor {
    const { authority, channel, trustDomain } = this.#options
    const signed = parsed(parseSignedDescriptor(body), 'the channel descriptor')
    const input = descriptorSignatureInput(signed.payload)
    if (
      signed.keyId !== authority.keyId ||
      !verify(null, input, authority.publicKey, signed.signature)
    ) {
      throw new AgentError('ANSWER_MALFORMED', 'the channel descriptor is not signed by the fabric')
    }
    const descriptor = parsed(parseDescriptor(signed.payload), 'the channel descriptor')
    if (descriptor.channel !== channel || descriptor.trustDomain !== trustDomain) {
      throw new AgentError('ANSWER_MALFORMED', 'the descriptor of another channel')
    }
    return descriptor
  }
}

/** Sends once more, newly signed, when it is unknown whether the first request took effect. */
async function repeating(send: () => Promise<ChannelReply>): Promise<ChannelReply> {
  try {
    return await send()
  } catch (error) {
    if (!isUnknown(error)) throw error
    return send().catch((second: unknown) => Promise.reject(afterFirst(second)))
  }
}

function isUnknown(error: unknown): boolean {
  if (error instanceof RefusedError) return error.code === 'OUTCOME_UNKNOWN'
  return error instanceof AgentError && ['OUTCOME_UNKNOWN', 'BODY_UNFINISHED'].includes(error.code)
}

export interface Published extends PublishAnswer {
  /** The exchange under which the fabric recorded it; null when the transport did not state it. */
  readonly exchange: string | null
}

function parsed<T>(value: T | null, what: string): T {
  if (value === null) throw new AgentError('ANSWER_MALFORMED', what)
  return value
}
