import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import {
  ackDigest,
  ackSignatureInput,
  KEY_LOG_MESSAGES_MAX,
  type LeaseRequest,
  type PublishAnswer,
  parseKeyMessage,
  parseSealedMessage,
  type Settlement,
  type SettlementItem,
  type SignedDescriptor,
  toBase64Url,
  toHex,
} from '@countersign/protocol'
import type { AgentRecord } from '../../identity/directory.ts'
import type { Clock } from '../../lib/clock.ts'
import { Refusal } from '../../lib/refusal.ts'
import { sha256OfParts } from '../../lib/sha256.ts'
import type { StillPermitted } from '../../pipeline/delivery.ts'
import type { ChannelAuthority } from './channel-authority.ts'
import type { ChannelRecord, ChannelRecords } from './channel-records.ts'
import type { ChannelStore, Leased, PublishResult } from './channel-store.ts'
import { type LeasePlace, LeaseTokens } from './lease-tokens.ts'
import { LeaseWaiters } from './lease-waiters.ts'
import { checkPublish, type Publisher } from './publish-check.ts'
import type { DecodedPublish } from './publish-decoding.ts'

/** While a request is held open, leases of others run out and delays pass: it looks this often. */
const lookAgainMs = 1000
/** Times that one request looks behind messages which its receiver may not have, before it waits. */
const passedOverMax = 8
/** What receivers countersign, kept from lease to settlement so that settling reads nothing back. */
const heldMax = 65_536
const keyCacheMax = 4096

export interface ChannelsOptions {
  readonly store: ChannelStore
  readonly records: ChannelRecords
  readonly authority: ChannelAuthority
  readonly findAgent: (name: string) => AgentRecord | null
  readonly trustDomain: string
  readonly clock: Clock
}

/** A caller whom the pipeline authenticated and authorized, and the channel that it addressed. */
export interface ChannelCall {
  readonly channel: string
  readonly caller: string
  /** Asked after every wait: the decision of the pipeline is as old as the request. */
  readonly still: StillPermitted
}

/** A call that takes messages: each of them is decided on by its own labels. */
export interface ReceiverCall extends ChannelCall {
  mayReceive(labels: readonly string[]): boolean
}

/** What was leased, and how to put it back when it cannot be handed over after all. */
export interface LeasedMessages {
  readonly messages: readonly Leased[]
  giveBack(): Promise<void>
}

/** What one settlement did, with the root that the receiver countersigned, for the ledger. */
export interface Settled {
  readonly settled: readonly boolean[]
  readonly countersigned: Uint8Array
}

interface Held {
  readonly messageId: string
  readonly sealedHash: Uint8Array
  readonly senderSignature: Uint8Array
}

/**
 * What the fabric does with channels once a call is authorized. It verifies and moves sealed
 * messages and never opens one: it has no key to.
 */
export class Channels {
  readonly #options: ChannelsOptions
  readonly #waiters = new LeaseWaiters()
  /** By channel and offset; the oldest goes first, and is read back from the store when it is missed. */
  readonly #held = new Map<string, Held>()
  readonly #keys = new Map<string, KeyObject>()
  readonly #tokens: LeaseTokens
  #closing = false

  constructor(options: ChannelsOptions) {
    this.#options = options
    this.#tokens = new LeaseTokens(options.authority.leaseKey())
  }

  async publish(call: ChannelCall, { messages }: DecodedPublish): Promise<PublishAnswer | Refusal> {
    const taken = this.#takePart(call)
    if (taken instanceof Refusal) return taken
    const { channel, publisher } = taken
    const { trustDomain, clock, store } = this.#options
    const now = clock.now()
    const refusal = await checkPublish(messages, publisher, { trustDomain, channel, now })
    if (refusal !== null) return refusal
    // Asked anew: who was removed while its signatures were checked stores nothing.
    const still = this.#takePart(call)
    if (still instanceof Refusal) return still
    const orders = messages.map(({ sealed, message: { header } }) => ({
      channel: channel.name,
      messageId: header.messageId,
      idempotencyHash: toHex(header.idempotencyHash),
      contentHash: toHex(header.contentHash),
      orderingHash: header.orderingHash === null ? null : toHex(header.orderingHash),
      sealed,
      now,
      expiresAt: Math.min(header.notAfter, now + channel.bounds.retentionMs),
    }))
    const results = await store.publish(orders)
    if (results.some(({ state }) => state === 'stored')) this.#waiters.wake(channel.name)
    const whole = refusalForAll(results, channel.name)
    if (whole !== null) return whole
    // Read again: the epoch may have moved while the disk was busy, and the sender should hear it.
    const { epoch } = this.#options.authority.find(channel.name) ?? channel
    return {
      epoch,
      results: results.map((result) => ({
        state: result.state,
        offset: 'offset' in result ? result.offset : null,
      })),
    }
  }

  /**
   * At most `waitMs` long; empty when there was nothing. `signal` fires when the receiver is gone.
   * What this receiver may not have goes back unharmed: it is due again, and no attempt was counted.
   */
  async lease(
    call: ReceiverCall,
    { group, count, leaseMs, waitMs }: LeaseRequest,
    signal: AbortSignal | null = null,
  ): Promise<LeasedMessages | Refusal> {
    const { clock } = this.#options
    const endsAt = clock.monotonic() + waitMs
    for (let passedOver = 0; ; ) {
      // Asked anew each time: a receiver that was removed while it waited gets nothing.
      const taken = this.#takePart(call)
      if (taken instanceof Refusal) return taken
      const place = { channel: taken.channel.name, group, caller: call.caller }
      const now = clock.now()
      const { channel } = place
      const leased = await this.#options.store.lease({
        ...{ channel, group, countMax: count, now, leaseMs },
      })
      const { kept, returned, refusal } = await this.#sift(call, place, { leased, signal })
      if (refusal !== null) return refusal
      if (returned > 0) passedOver++
      const left = endsAt - clock.monotonic()
      if (kept.length > 0 || left <= 0 || this.#closing || signal?.aborted === true) {
        return this.#handOut(place, kept)
      }
      // Others may wait behind those that were passed over, but not without end.
      if (returned > 0 && passedOver < passedOverMax) continue
      const waited = await this.#waiters.wait(place.channel, Math.min(left, lookAgainMs), signal)
      if (!waited) return this.#handOut(place, [])
    }
  }

  /** Keeps what the receiver may have at this moment, and puts the rest back. */
  async #sift(
    call: ReceiverCall,
    place: LeasePlace,
    { leased, signal }: { readonly leased: readonly Leased[]; readonly signal: AbortSignal | null },
  ): Promise<Sifted> {
    const taken = this.#takePart(call)
    const refusal = taken instanceof Refusal ? taken : null
    const isGone = refusal !== null || signal?.aborted === true
    const kept = isGone ? [] : leased.filter(({ message }) => mayHave(call, message.sealed))
    const back = leased.filter((one) => !kept.includes(one))
    // A receiver that is permitted more gets at them at once; this one looks past them for a moment.
    if (back.length > 0) await this.#giveBack(place, back, isGone ? 0 : lookAgainMs)
    return { kept, returned: back.length, refusal }
  }

  #handOut(place: LeasePlace, leased: readonly Leased[]): LeasedMessages {
    for (const { message } of leased) this.#hold(place.channel, message.offset, message.sealed)
    return {
      messages: leased.map((one) => ({
        ...one,
        leaseToken: this.#tokens.bind(one.leaseToken, place),
      })),
      giveBack: () => this.#giveBack(place, leased, 0),
    }
  }

  async #giveBack(
    { channel, group }: LeasePlace,
    leased: readonly Leased[],
    delayMs: number,
  ): Promise<void> {
    if (leased.length === 0) return
    const now = this.#options.clock.now()
    const common = { channel, group, now, verdict: 'return', delayMs, reason: '' } as const
    await this.#options.store.settle(
      leased.map(({ message, leaseToken }) => ({ ...common, offset: message.offset, leaseToken })),
    )
    this.#waiters.wake(channel)
  }

  /** Each verdict holds only under the receiver's countersignature over message and sender's signature. */
  async settle(call: ChannelCall, settlement: Settlement): Promise<Settled | Refusal> {
    const taken = this.#takePart(call)
    if (taken instanceof Refusal) return taken
    const { channel, publisher } = taken
    const { group, items } = settlement
    const digests: Uint8Array[] = []
    for (const item of items) {
      const held = await this.#findHeld(channel.name, item)
      if (held === null) return new Refusal('LEASE_LOST', `${channel.name} ${item.offset} is gone`)
      const { verdict, reason } = item
      digests.push(ackDigest({ ...held, group, verdict, reason }, sha256OfParts))
    }
    const countersigned = ackSignatureInput(digests, sha256OfParts)
    if (
      settlement.signingKeyId !== publisher.signingKeyId ||
      !verify(null, countersigned, publisher.signingKey, settlement.countersignature)
    ) {
      return new Refusal('SIGNATURE_REJECTED', `${call.caller} on ${channel.name}`)
    }
    // Asked anew: messages may have been read back from the disk.
    const still = this.#takePart(call)
    if (still instanceof Refusal) return still
    const now = this.#options.clock.now()
    const place = { channel: channel.name, group, caller: call.caller }
    const orders = items.map((item) => ({
      ...{ ...item, channel: channel.name, group, now },
      leaseToken: this.#tokens.unbind(item.leaseToken, place),
    }))
    const settled = await this.#options.store.settle(orders)
    for (const [i, { offset, verdict }] of items.entries()) {
      if (settled[i] === true && verdict !== 'retry') this.#held.delete(`${channel.name} ${offset}`)
    }
    // An ordering key may have become free, or a retry due.
    this.#waiters.wake(channel.name)
    return { settled, countersigned }
  }

  /** The signed descriptor of the present epoch, or of an earlier one that still has messages. */
  async describe(call: ChannelCall, epoch: number | null): Promise<SignedDescriptor | Refusal> {
    const taken = this.#takePart(call)
    if (taken instanceof Refusal) return taken
    const { name, epoch: present } = taken.channel
    const found = await this.#options.authority.findDescriptor(name, epoch ?? present)
    return found ?? new Refusal('OPERATION_UNKNOWN', `${name} keeps no epoch ${epoch ?? present}`)
  }

  /** Puts one key message into the log of the present epoch. Null when it is there. */
  async putKey(call: ChannelCall, bytes: Uint8Array): Promise<Refusal | null> {
    const taken = this.#takePart(call)
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
    // To every member of the epoch and to nobody else: a sender cannot let an outsider in.
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
    const stored = await this.#options.records.appendKey(channel.name, logged, KEY_LOG_MESSAGES_MAX)
    return stored
      ? null
      : new Refusal('CHANNEL_FULL', 'this session is in the key log, or it is full')
  }

  async keys(call: ChannelCall, epoch: number): Promise<readonly Uint8Array[] | Refusal> {
    const taken = this.#takePart(call)
    if (taken instanceof Refusal) return taken
    return this.#options.records.keys(taken.channel.name, epoch)
  }

  /** Lets go of every request that is held open. The store is closed by whoever opened it. */
  close(): void {
    this.#closing = true
    this.#waiters.wakeAll()
  }

  /** Membership stands beside policy, not behind it: both have to say yes. */
  #takePart({ channel: name, caller, still }: ChannelCall): TakingPart | Refusal {
    const lost = still()
    if (lost !== null) return lost
    const channel = this.#options.authority.find(name)
    if (channel === null) return new Refusal('RECEIVER_UNKNOWN', `channel ${name}`)
    const agent = this.#options.findAgent(caller)
    if (!channel.members.includes(caller) || agent?.status !== 'active' || agent.keys === null) {
      return new Refusal('NOT_PERMITTED', `${caller} has no part in ${name}`)
    }
    const { keyId, publicKey } = agent.keys.signing
    return {
      channel,
      publisher: { name: caller, signingKeyId: keyId, signingKey: this.#keyOf(publicKey) },
    }
  }

  #keyOf(raw: Uint8Array): KeyObject {
    const x = toBase64Url(raw)
    const known = this.#keys.get(x)
    if (known !== undefined) return known
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
    if (this.#keys.size >= keyCacheMax) this.#keys.clear()
    this.#keys.set(x, key)
    return key
  }

  #hold(channel: string, offset: number, sealed: Uint8Array): Held | null {
    const message = parseSealedMessage(sealed)
    if (message === null) return null
    const held = {
      messageId: message.header.messageId,
      // Copies: the views would keep the buffers alive that they lie in.
      sealedHash: new Uint8Array(sha256OfParts(sealed)),
      senderSignature: message.signature.slice(),
    }
    const oldest = this.#held.keys().next()
    if (this.#held.size >= heldMax && oldest.done === false) this.#held.delete(oldest.value)
    this.#held.set(`${channel} ${offset}`, held)
    return held
  }

  async #findHeld(channel: string, { offset }: SettlementItem): Promise<Held | null> {
    const held = this.#held.get(`${channel} ${offset}`)
    if (held !== undefined) return held
    const stored = await this.#options.store.find(channel, offset)
    return stored === null ? null : this.#hold(channel, offset, stored.sealed)
  }
}

interface Sifted {
  readonly kept: readonly Leased[]
  readonly returned: number
  readonly refusal: Refusal | null
}

/** By the labels that the sender signed. What cannot be read was never published through here. */
function mayHave(call: ReceiverCall, sealed: Uint8Array): boolean {
  const message = parseSealedMessage(sealed)
  return message !== null && call.mayReceive(message.header.labels)
}

interface TakingPart {
  readonly channel: ChannelRecord
  readonly publisher: Publisher
}

/** A request of which nothing was taken is refused as a whole, so that callers cannot overlook it. */
function refusalForAll(results: readonly PublishResult[], channel: string): Refusal | null {
  if (results.every(({ state }) => state === 'full')) {
    return new Refusal('CHANNEL_FULL', channel, 1000)
  }
  if (results.every(({ state }) => state === 'conflict')) {
    return new Refusal('IDEMPOTENCY_CONFLICT', channel)
  }
  return null
}
