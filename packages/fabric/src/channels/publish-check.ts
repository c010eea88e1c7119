import { type KeyObject, verify } from 'node:crypto'
import {
  BatchProofs,
  batchSignatureInput,
  messageDigest,
  messageSignatureInput,
  type SealedHeader,
  type SealedMessage,
} from '@countersign/protocol'
import { overLimit } from '../lib/limits.ts'
import { Refusal } from '../lib/refusal.ts'
import { sha256OfParts } from '../lib/sha256.ts'
import type { ChannelRecord } from './channel-records.ts'
import type { ClaimedMessage } from './publish-decoding.ts'

/** Maximum time that a sender's clock may run ahead of ours. */
const clockSkewMs = 5 * 60 * 1000

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
 * Null when every message states that `publisher` sealed it for this channel, as it is now. One bad
 * message refuses the request: its sender is either broken or not the agent that it claims to be.
 */
export function checkHeaders(
  messages: readonly ClaimedMessage[],
  publisher: Publisher,
  place: PublishPlace,
): Refusal | null {
  for (const { sealed, message } of messages) {
    const { messageBytesMax } = place.channel.bounds
    if (sealed.length > messageBytesMax) {
      const limit = { name: 'channel.messageBytes', value: messageBytesMax, unit: 'bytes' } as const
      const detail = `${message.header.messageId} in ${place.channel.name}`
      return overLimit('MESSAGE_TOO_LARGE', limit, detail)
    }
    const refusal = checkHeader(message.header, publisher, place)
    if (refusal !== null) return refusal
  }
  return null
}

/**
 * Null when every message is under the signature of `publisher`. Takes time, in which all else may
 * change.
 */
export async function checkSignatures(
  messages: readonly ClaimedMessage[],
  publisher: Publisher,
): Promise<Refusal | null> {
  const batches = new BatchSignatures(publisher.signingKey)
  const signed = await Promise.all(messages.map(async ({ message }) => batches.isSigned(message)))
  const unsigned = messages[signed.indexOf(false)]
  return unsigned === undefined
    ? null
    : new Refusal('SIGNATURE_REJECTED', `${unsigned.message.header.messageId} of ${publisher.name}`)
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

  isSigned({ core, batch, signature }: SealedMessage): boolean | Promise<boolean> {
    const digest = messageDigest(core, sha256OfParts)
    if (batch === null) return verifyInPool(messageSignatureInput(digest), this.#key, signature)
    const name = `${batch.count} ${Buffer.from(signature).toString('latin1')}`
    const proofs = this.#batches.get(name) ?? new BatchProofs(sha256OfParts)
    this.#batches.set(name, proofs)
    return proofs.prove(digest, batch, (root) =>
      verify(null, batchSignatureInput(batch.count, root), this.#key, signature),
    )
  }
}

/**
 * In a thread of libuv's pool: a signature of its own costs a message more than all else that is
 * done for it, and the event loop has other callers. Rejects when it could not be computed.
 */
function verifyInPool(input: Uint8Array, key: KeyObject, signature: Uint8Array): Promise<boolean> {
  return new Promise((resolve, reject) => {
    verify(null, input, key, signature, (error, isValid) => {
      if (error === null) resolve(isValid)
      else reject(error)
    })
  })
}
