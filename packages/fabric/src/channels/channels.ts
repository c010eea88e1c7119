import { verify } from 'node:crypto'
import {
  KEY_LOG_MESSAGES_MAX,
  type LeaseRequest,
  type PublishAnswer,
  parseKeyMessage,
  type SignedDescriptor,
  toHex,
} from '@countersign/protocol'
import type { AgentRecord } from '../identity/directory.ts'
import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import type { ChannelAuthority } from './channel-authority.ts'
import type { ChannelRecords } from './channel-records.ts'
import type { ChannelStore, PublishResult } from './channel-store.ts'
import { HeldMessages } from './held-messages.ts'
import { type Hold, LeaseMemory } from './lease-memory.ts'
import { LeaseTokens, unowned } from './lease-tokens.ts'
import {
  type ChannelCall,
  decidedOnce,
  type LeasedMessages,
  Leasing,
  type ReceiverCall,
  type SettlerCall,
} from './leasing.ts'
import { Membership } from './membership.ts'
import { RequestChecks, type VerifiedPublish, type VerifiedSettlement } from './request-checks.ts'

/** Of one epoch's key log, which its readers get whole. */
const keyLogLimits = { countMax: KEY_LOG_MESSAGES_MAX, bytesMax: 8 * 1024 * 1024 }

export interface ChannelsOptions {
  readonly store: ChannelStore
  readonly records: ChannelRecords
  readonly authority: ChannelAuthority
  readonly findAgent: (name: string) => AgentRecord | null
  readonly trustDomain: string
  readonly clock: Clock
  /** The refusal of every operation where another process serves the channels. */
  readonly elsewhere?: () => Refusal | null
}

export interface LoggedKeys {
  readonly keys: readonly Uint8Array[]
  readonly hold: Hold
}

/** The result of one settlement, with the root that the receiver countersigned, for the ledger. */
export interface Settled {
  readonly settled: readonly boolean[]
  readonly countersigned: Uint8Array
}

/**
 * The operations of the fabric on channels once a call is authorized. It verifies and moves sealed
 * messages and never opens one: it does not hold a key to do so.
 */
export class Channels {
  readonly #options: ChannelsOptions
  readonly #memory: LeaseMemory
  readonly #held: HeldMessages
  readonly #members: Membership
  readonly #tokens: LeaseTokens
  readonly #leasing: Leasing
  /** To be made before the intent of a request is recorded. */
  readonly checks: RequestChecks

  constructor(options: ChannelsOptions, memory: LeaseMemory = new LeaseMemory()) {
    this.#options = options
    this.#memory = memory
    this.#held = new HeldMessages(options.store, memory)
    this.#members = new Membership(options)
    this.checks = new RequestChecks({ ...options, members: this.#members, held: this.#held })
    this.#tokens = new LeaseTokens(options.authority.leaseKey())
    this.#leasing = new Leasing({
      ...{ store: options.store, clock: options.clock, memory },
      ...{ held: this.#held, tokens: this.#tokens },
      statusVersion: () => options.authority.statusVersion,
      requireMember: (call) => {
        const taken = this.#members.requireMember(call)
        return taken instanceof Refusal ? taken : taken.channel.name
      },
    })
  }

  async publish(
    call: ChannelCall,
    { messages }: VerifiedPublish,
  ): Promise<PublishAnswer | Refusal> {
    // Asked again: since the signatures were verified the sender can have been removed, or the
    // epoch, its key or its time ended. Each header names the key that was verified.
    const admitted = this.checks.admit(this.#members.requireMember(call), messages)
    if (admitted instanceof Refusal) return admitted
    const { channel, now } = admitted
    const { authority, store } = this.#options
    const orders = messages.map(({ sealed, message: { header } }) => ({
      channel: channel.name,
      messageId: header.messageId,
      // Each sender's own: no sender uses up a key, or holds up an ordering, of another.
      idempotencyHash: `${header.sender} ${toHex(header.idempotencyHash)}`,
      contentHash: toHex(header.contentHash),
      orderingHash:
        header.orderingHash === null ? null : `${header.sender} ${toHex(header.orderingHash)}`,
      sealed,
      now,
      expiresAt: Math.min(header.notAfter, now + channel.bounds.retentionMs),
    }))
    const results = await authority.writing(channel.name, () => store.publish(orders))
    if (results.some(({ state }) => state === 'stored')) this.#leasing.wake(channel.name)
    const whole = refusalForAll(results, channel.name)
    if (whole !== null) return whole
    // Read again: the epoch may have moved while the disk was busy, and the sender should receive
    // the new one.
    const { epoch } = authority.find(channel.name) ?? channel
    return {
      epoch,
      results: results.map((result) => ({
        state: result.state,
        offset: 'offset' in result ? result.offset : null,
      })),
    }
  }

  /**
   * Waits at most `waitMs`; empty when there was nothing. `signal` fires when the receiver is gone.
   * A message that this receiver may not have goes back unharmed: it is due again, and no attempt
   * was counted.
   */
  lease(
    call: ReceiverCall,
    request: LeaseRequest,
    signal: AbortSignal | null = null,
  ): Promise<LeasedMessages | Refusal> {
    return this.#leasing.lease(call, request, signal)
  }

  /**
   * Each verdict holds only under the receiver's countersignature, and while the receiver may have
   * the message: it takes nothing from others that it could not lease.
   */
  async settle(
    call: SettlerCall,
    { settlement, found, countersigned }: VerifiedSettlement,
  ): Promise<Settled | Refusal> {
    const { group, signingKeyId } = settlement
    // Asked again, since the intent took its time. No wait from here to the store.
    const taken = this.#members.requireMember(call)
    if (taken instanceof Refusal) return taken
    const { channel, publisher } = taken
    if (signingKeyId !== publisher.signingKeyId) {
      return new Refusal('SIGNATURE_REJECTED', `${call.caller} on ${channel.name}`)
    }
    const now = this.#options.clock.now()
    const place = { channel: channel.name, group, caller: call.caller }
    const mayReceive = decidedOnce(call)
    const orders = found.map(({ item, held: { labels } }) => ({
      ...{ ...item, channel: channel.name, group, now },
      // The fabric gives reasons of its own to what it sets aside: this one is the consumer's.
      reason: item.reason === '' ? '' : `${call.caller}: ${item.reason}`,
      leaseToken: mayReceive(labels) ? this.#tokens.unbind(item.leaseToken, place) : unowned,
    }))
    const settled = await this.#options.store.settle(orders)
    for (const [i, { offset, verdict }] of orders.entries()) {
      if (settled[i] === true && verdict !== 'nack') {
        this.#held.drop({ channel: channel.name, offset })
      }
    }
    // An ordering key may have become free, or a retry due.
    this.#leasing.wake(channel.name)
    return { settled, countersigned }
  }

  /** The signed descriptor of the present epoch, or of an earlier one that still has messages. */
  async describe(call: ChannelCall, epoch: number | null): Promise<SignedDescriptor | Refusal> {
    const taken = this.#members.requireMember(call)
    if (taken instanceof Refusal) return taken
    const { name, epoch: present } = taken.channel
    const found = await this.#options.authority.findDescriptor(name, epoch ?? present)
    const still = this.#members.requireMember(call)
    if (still instanceof Refusal) return still
    return found ?? new Refusal('OPERATION_UNKNOWN', `${name} keeps no epoch ${epoch ?? present}`)
  }

  /** Puts one key message into the log of the present epoch. Null when it is there. */
  async putKey(call: ChannelCall, bytes: Uint8Array): Promise<Refusal | null> {
    const taken = this.#members.requireMember(call)
    if (taken instanceof Refusal) return taken
    const signed = parseKeyMessage(bytes)
    if (signed === null) return new Refusal('MESSAGE_MALFORMED', 'not a key message')
    const { message } = signed
    const { channel, publisher } = taken
    if (message.epoch !== channel.epoch) {
      return new Refusal(
        'EPOCH_STALE',
        `epoch ${message.epoch}, the channel is at ${channel.epoch}`,
      )
    }
    const isHere =
      message.channel === channel.name && message.trustDomain === this.#options.trustDomain
    const isOwn = message.sender === call.caller && message.signingKeyId === publisher.signingKeyId
    if (
      !isHere ||
      !isOwn ||
      !verify(null, signed.signedBytes, publisher.signingKey, signed.signature)
    ) {
      return new Refusal('SIGNATURE_REJECTED', `key message of ${call.caller}`)
    }
    // To every member of the epoch and to no other agent: a sender cannot let an outsider in.
    const members = this.#options.authority.participants(channel)
    const isComplete =
      members.length === message.keys.length &&
      members.every(({ name, sealing }, i) => {
        const key = message.keys[i]
        return key?.member === name && key.sealingKeyId === sealing.keyId
      })
    if (!isComplete || !channel.suites.includes(message.suite)) {
      return new Refusal('EPOCH_STALE', 'the key is not wrapped to the members of this epoch')
    }
    const { epoch, sender } = message
    const logged = { epoch, sender, session: toHex(message.session), bytes }
    const stored = await this.#options.records.appendKey(channel.name, logged, keyLogLimits)
    return stored
      ? null
      : new Refusal('CHANNEL_FULL', 'this session is in the key log, or it is full')
  }

  /**
   * The log of an epoch, with the room that it takes: to be released when its response has left.
   */
  async keys(call: ChannelCall, epoch: number): Promise<LoggedKeys | Refusal> {
    const taken = this.#members.requireMember(call)
    if (taken instanceof Refusal) return taken
    const { name } = taken.channel
    const bytes = await this.#options.records.keyBytes(name, epoch)
    const hold = await this.#memory.reserveExactly(call.caller, bytes)
    if (hold instanceof Refusal) return hold
    try {
      const keys = await this.#options.records.keys(name, epoch)
      // Asked anew: room is waited for, and the log may be of an epoch that began without this
      // caller.
      const still = this.#members.requireMember(call)
      if (!(still instanceof Refusal)) return { keys, hold }
      hold.release()
      return still
    } catch (cause) {
      hold.release()
      throw cause
    }
  }

  /** Ends every request that is held open. The store is closed by the code that opened it. */
  close(): void {
    this.#leasing.close()
  }
}

/**
 * A request of which nothing was taken is refused as a whole, so that callers cannot overlook it.
 */
function refusalForAll(results: readonly PublishResult[], channel: string): Refusal | null {
  if (results.every(({ state }) => state === 'full')) {
    return new Refusal('CHANNEL_FULL', channel, 1000)
  }
  if (results.every(({ state }) => state === 'conflict')) {
    return new Refusal('IDEMPOTENCY_CONFLICT', channel)
  }
  return null
}
