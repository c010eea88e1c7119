import { sign } from 'node:crypto'
import {
  type BatchProof,
  batchSignatureInput,
  batchTree,
  type ChannelMember,
  completeMessage,
  concat,
  createId,
  encodeAdditionalData,
  encodeKeyMessage,
  encodeSealedContent,
  encodeUnsignedMessage,
  keySignatureInput,
  keyWrapInfo,
  type MessageId,
  messageDigest,
  messageIdBytes,
  messageSignatureInput,
  SEALED_BATCH_MAX,
  SEALED_SEQUENCE_MAX,
  type SealedHeader,
  type SealedPadding,
  type UnsignedMessage,
  utf8,
} from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import { sha256 } from '../lib/sha256.ts'
import { type SealSuiteId, wrapSecret } from './hpke.ts'
import {
  type ChannelHash,
  createChannelHash,
  deriveMessageKey,
  encrypt,
  type KeyScope,
  type MessageKey,
  type SealingIdentity,
} from './seal-keys.ts'

/** `count` bytes from a cryptographic source; passed in, so that vectors can be reproduced. */
export type Random = (count: number) => Uint8Array

export interface SealerOptions {
  readonly identity: SealingIdentity
  readonly channel: string
  readonly epoch: number
  readonly suite: SealSuiteId
  readonly padding: SealedPadding
  readonly clock: Clock
  readonly random: Random
}

/** One message to be sealed. */
export interface SealRequest {
  readonly body: Uint8Array
  readonly contentType: string
  /** Sorted, without duplicates; visible to the broker and to policy. */
  readonly labels: readonly string[]
  /** Messages of one sender with the same key are delivered one after the other. */
  readonly orderingKey: string | null
  /** A second message with the same key is stored once. Null takes the message id. */
  readonly idempotencyKey: string | null
  readonly lifetimeMs: number
  /** Given when the same message is sealed again, for a newer epoch. */
  readonly messageId: MessageId | null
}

export interface Sealed {
  readonly messageId: MessageId
  readonly bytes: Uint8Array
}

/**
 * Seals for one channel, epoch and session. Its key is made with it and goes nowhere but into
 * `keyMessage`.
 */
export interface Sealer {
  readonly epoch: number
  /** Number of messages that it can still seal; make another one before it reaches zero. */
  readonly left: number
  seal(order: SealRequest): Sealed
  /** One signature for all, at most `SEALED_BATCH_MAX`. */
  sealBatch(orders: readonly SealRequest[]): readonly Sealed[]
  /**
   * Returns the message that has to be in the channel's key log before the first message is sent.
   */
  keyMessage(members: readonly ChannelMember[]): Promise<Uint8Array>
}

/**
 * Draws a fresh session and a fresh secret. Since no two sealers share a key, and each counts its
 * nonces from zero in memory, no crash, restart or copied disk can make a nonce repeat.
 */
export function createSealer(options: SealerOptions): Sealer {
  return new SessionSealer(options, { session: options.random(16), secret: options.random(32) })
}

const idBytes = 10
const idsDrawn = 64

class SessionSealer implements Sealer {
  readonly #options: SealerOptions
  readonly #secret: Uint8Array
  readonly #scope: KeyScope
  readonly #key: MessageKey
  readonly #keyedHash: ChannelHash
  /**
   * The next message's; written only by `#sealCore`, which is synchronous: no two calls see the
   * same.
   */
  #sequence = 0
  #previous: Uint8Array = new Uint8Array(32)
  #idBytes: Uint8Array = new Uint8Array(0)

  constructor(
    options: SealerOptions,
    { session, secret }: { readonly session: Uint8Array; readonly secret: Uint8Array },
  ) {
    const { identity, channel, epoch, suite } = options
    this.#options = options
    this.#secret = secret
    this.#scope = {
      suite,
      trustDomain: identity.trustDomain,
      channel,
      epoch,
      sender: identity.name,
      session,
    }
    this.#key = deriveMessageKey(secret, this.#scope)
    this.#keyedHash = createChannelHash(identity, channel)
  }

  get epoch(): number {
    return this.#options.epoch
  }

  get left(): number {
    return SEALED_SEQUENCE_MAX + 1 - this.#sequence
  }

  seal(order: SealRequest): Sealed {
    const { messageId, unsigned, digest } = this.#sealCore(order, null)
    const signature = this.#sign(messageSignatureInput(digest))
    return { messageId, bytes: completeMessage(unsigned, signature, null) }
  }

  sealBatch(orders: readonly SealRequest[]): readonly Sealed[] {
    if (orders.length === 0 || orders.length > SEALED_BATCH_MAX) throw new RangeError('batch size')
    const count = orders.length
    const cores = orders.map((order, index) => this.#sealCore(order, { count, index }))
    const digests = cores.map(({ digest }) => digest)
    const { root, proofs } = batchTree(digests, sha256)
    const signature = this.#sign(batchSignatureInput(count, root))
    return cores.map(({ messageId, unsigned }, i) => ({
      messageId,
      bytes: completeMessage(unsigned, signature, proofs[i] ?? null),
    }))
  }

  async keyMessage(members: readonly ChannelMember[]): Promise<Uint8Array> {
    const { identity, suite, clock } = this.#options
    const head = {
      ...this.#scope,
      createdAt: clock.now(),
      commitment: this.#key.commitment,
      signingKeyId: identity.signing.keyId,
    }
    const keys = await Promise.all(
      members.map(async ({ name, sealing }) => {
        if (sealing.suite !== suite) throw new TypeError(`${name} has no key for suite ${suite}`)
        const to = { member: name, sealingKeyId: sealing.keyId }
        const info = keyWrapInfo(head, to)
        return { ...to, ...(await wrapSecret(this.#secret, sealing.publicKey, { suite, info })) }
      }),
    )
    const encoded = encodeKeyMessage({ ...head, keys })
    return concat(encoded, this.#sign(keySignatureInput(encoded)))
  }

  #sealCore(order: SealRequest, place: BatchPlace | null): SealedCore {
    const { identity, channel, clock, padding } = this.#options
    if (this.left === 0) throw new RangeError('this session is used up')
    const createdAt = clock.now()
    const messageId = order.messageId ?? createId('msg', createdAt, this.#drawIdBytes())
    const made = { batchSigned: place !== null, messageId, createdAt }
    const additionalData = this.#encodeAdditionalData(order, made)
    const { contentType, body } = order
    const { trustDomain, name: sender } = identity
    const content = encodeSealedContent(
      { trustDomain, channel, sender, contentType, body },
      padding,
    )
    // Counted before the nonce is used: whatever fails from here on, it is not used again.
    const sequence = this.#sequence++
    const payload = encrypt(content, this.#key, { sequence, additionalData })
    const unsigned = encodeUnsignedMessage(additionalData, payload, place)
    const digest = messageDigest(unsigned.core, sha256)
    this.#previous = digest
    return { messageId, unsigned, digest }
  }

  #encodeAdditionalData(
    order: SealRequest,
    made: Pick<SealedHeader, 'batchSigned' | 'messageId' | 'createdAt'>,
  ): Uint8Array {
    const { orderingKey, body } = order
    const idempotencyKey = order.idempotencyKey === null ? null : utf8(order.idempotencyKey)
    const header = {
      ...this.#scope,
      ...made,
      sequence: this.#sequence,
      notAfter: made.createdAt + order.lifetimeMs,
      // An id of its own needs no hiding and no comparing of bodies.
      ...(idempotencyKey === null
        ? { idempotencyHash: messageIdBytes(made.messageId), contentHash: new Uint8Array(16) }
        : {
            idempotencyHash: this.#keyedHash('idempotency', idempotencyKey),
            contentHash: this.#keyedHash('content', idempotencyKey, body),
          }),
      previous: this.#previous,
      orderingHash: orderingKey === null ? null : this.#keyedHash('ordering', utf8(orderingKey)),
      signingKeyId: this.#options.identity.signing.keyId,
      contentType: order.contentType,
      labels: order.labels,
    }
    return encodeAdditionalData(header, this.#key.commitment)
  }

  /** Drawn for many ids at once: one call for each costs as much as the cipher. */
  #drawIdBytes(): Uint8Array {
    if (this.#idBytes.length === 0) this.#idBytes = this.#options.random(idBytes * idsDrawn)
    const drawn = this.#idBytes.subarray(0, idBytes)
    this.#idBytes = this.#idBytes.subarray(idBytes)
    return drawn
  }

  #sign(bytes: Uint8Array): Uint8Array {
    return sign(null, bytes, this.#options.identity.signing.privateKey)
  }
}

type BatchPlace = Pick<BatchProof, 'count' | 'index'>

interface SealedCore {
  readonly messageId: MessageId
  readonly unsigned: UnsignedMessage
  readonly digest: Uint8Array
}
