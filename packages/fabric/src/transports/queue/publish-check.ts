import { createHash, type KeyObject, verify } from 'node:crypto'
import {
  BatchProofs,
  batchSignatureInput,
  messageDigest,
  messageSignatureInput,
  type SealedHeader,
  type SealedMessage,
  type Sha256,
} from '@countersign/protocol'
import { Refusal } from '../../lib/refusal.ts'
import type { ChannelRecord } from './channel-records.ts'
import type { ClaimedMessage } from './publish-decoding.ts'

/** How far a sender's clock may run ahead of ours. */
const clockSkewMs = 5 * 60 * 1000

export const sha256: Sha256 = (...parts) => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

/** The authenticated sender, with the key it enrolled. */
export interface Publisher {
  readonly name: string
  readonly signingKeyId: string
  readonly signingKey: KeyObject
}

interface PublishPlace {
  readonly trustDomain: string
  readonly channel: ChannelRecord
  readonly now: number
}

/**
 * Null when every message was sealed by `publisher` for this channel, now, and says so under its
 * signature. One bad message refuses the request: its sender is either broken or not who it says.
 */
export function checkPublish(
  messages: readonly ClaimedMessage[],
  publisher: Publisher,
  place: PublishPlace,
): Refusal | null {
  const batches = new BatchSignatures(publisher.signingKey)
  for (const { sealed, message } of messages) {
    if (sealed.length > place.channel.bounds.messageBytesMax) {
      return new Refusal(
        'MESSAGE_TOO_LARGE',
        `${message.header.messageId} in ${place.channel.name}`,
      )
    }
    const refusal = checkHeader(message.header, publisher, place)
    if (refusal !== null) return refusal
    if (!batches.isSigned(message)) {
      return new Refusal('SIGNATURE_REJECTED', `${message.header.messageId} of ${publisher.name}`)
    }
  }
  return null
}

function checkHeader(
  header: SealedHeader,
  publisher: Publisher,
  { trustDomain, channel, now }: PublishPlace,
): Refusal | null {
  if (header.channel !== channel.name || header.trustDomain !== trustDomain) {
    return new Refusal('SIGNATURE_REJECTED', `sealed for ${header.trustDomain} ${header.channel}`)
  }
  if (header.sender !== publisher.name || header.signingKeyId !== publisher.signingKeyId) {
    return new Refusal('SIGNATURE_REJECTED', `${publisher.name} sent a message of ${header.sender}`)
  }
  if (!channel.suites.includes(header.suite)) {
    return new Refusal('VERSION_UNSUPPORTED', `suite ${header.suite} in ${channel.name}`)
  }
  if (header.epoch < channel.floor || header.epoch > channel.epoch) {
    return new Refusal('EPOCH_STALE', `epoch ${header.epoch}, the channel is at ${channel.epoch}`)
  }
  if (header.createdAt > now + clockSkewMs) {
    return new Refusal('MESSAGE_MALFORMED', `created ${header.createdAt - now} ms from now`)
  }
  if (header.notAfter <= now) {
    return new Refusal('MESSAGE_MALFORMED', `expired ${now - header.notAfter} ms ago`)
  }
  return null
}

/** Verifies each signature once, however many messages of the request it covers. */
class BatchSignatures {
  readonly #key: KeyObject
  readonly #batches = new Map<string, BatchProofs>()

  constructor(key: KeyObject) {
    this.#key = key
  }

  isSigned({ core, batch, signature }: SealedMessage): boolean {
    const digest = messageDigest(core, sha256)
    if (batch === null) return verify(null, messageSignatureInput(digest), this.#key, signature)
    const name = `${batch.count} ${Buffer.from(signature).toString('latin1')}`
    const proofs = this.#batches.get(name) ?? new BatchProofs(sha256)
    this.#batches.set(name, proofs)
    return proofs.prove(digest, batch, (root) =>
      verify(null, batchSignatureInput(batch.count, root), this.#key, signature),
    )
  }
}
