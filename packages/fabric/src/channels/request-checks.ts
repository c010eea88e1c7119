import { verify } from 'node:crypto'
import {
  ackDigest,
  ackSignatureInput,
  type Settlement,
  type SettlementItem,
} from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import { sha256OfParts } from '../lib/sha256.ts'
import type { HeldMessage, HeldMessages } from './held-messages.ts'
import type { ChannelMember, Membership, Participant } from './membership.ts'
import { checkHeaders, checkSignatures } from './publish-check.ts'
import type { ClaimedMessage, DecodedPublish } from './publish-decoding.ts'

/** Messages under verified signatures of their sender. Made in this file only. */
class VerifiedPublish {
  readonly #messages: readonly ClaimedMessage[]

  constructor(messages: readonly ClaimedMessage[]) {
    this.#messages = messages
  }

  get messages(): readonly ClaimedMessage[] {
    return this.#messages
  }
}

/** A settlement under the verified countersignature of its receiver. Made in this file only. */
class VerifiedSettlement {
  readonly settlement: Settlement
  readonly #found: readonly FoundItem[]
  readonly countersigned: Uint8Array

  constructor(settlement: Settlement, found: readonly FoundItem[], countersigned: Uint8Array) {
    this.settlement = settlement
    this.#found = found
    this.countersigned = countersigned
  }

  get found(): readonly FoundItem[] {
    return this.#found
  }
}

export type { VerifiedPublish, VerifiedSettlement }

interface FoundItem {
  readonly item: SettlementItem
  readonly held: HeldMessage
}

interface RequestChecksOptions {
  readonly members: Membership
  readonly held: HeldMessages
  readonly trustDomain: string
  readonly clock: Clock
}

/**
 * Checks membership and signatures before the intent of a request is recorded, so that no intent
 * states that a caller was let through that has no part in the channel, or not the key.
 */
export class RequestChecks {
  readonly #options: RequestChecksOptions

  constructor(options: RequestChecksOptions) {
    this.#options = options
  }

  member(caller: Participant): Refusal | null {
    const member = this.#options.members.memberOf(caller)
    return member instanceof Refusal ? member : null
  }

  async publish(
    sender: Participant,
    { messages }: DecodedPublish,
  ): Promise<VerifiedPublish | Refusal> {
    const admitted = this.admit(this.#options.members.memberOf(sender), messages)
    if (admitted instanceof Refusal) return admitted
    const refusal = await checkSignatures(messages, admitted.publisher)
    return refusal ?? new VerifiedPublish(messages)
  }

  async settlement(
    receiver: Participant,
    settlement: Settlement,
  ): Promise<VerifiedSettlement | Refusal> {
    const found = await this.#foundOf(receiver, settlement)
    if (found instanceof Refusal) return found
    // Asked again: messages may have been read back from the disk.
    const member = this.#options.members.memberOf(receiver)
    if (member instanceof Refusal) return member
    const { channel, publisher } = member
    const { group, signingKeyId, countersignature } = settlement
    const digests = found.map(({ item: { verdict, reason }, held }) =>
      ackDigest({ ...held, group, verdict, reason }, sha256OfParts),
    )
    const countersigned = ackSignatureInput(digests, sha256OfParts)
    if (
      signingKeyId !== publisher.signingKeyId ||
      !verify(null, countersigned, publisher.signingKey, countersignature)
    ) {
      return new Refusal('SIGNATURE_REJECTED', `${receiver.caller} on ${channel.name}`)
    }
    return new VerifiedSettlement(settlement, found, countersigned)
  }

  /** Checks that the messages may be stored at this moment, if their signatures are good. */
  admit(
    taken: ChannelMember | Refusal,
    messages: readonly ClaimedMessage[],
  ): (ChannelMember & { readonly now: number }) | Refusal {
    if (taken instanceof Refusal) return taken
    const { channel, publisher } = taken
    const { trustDomain, clock } = this.#options
    const now = clock.now()
    return checkHeaders(messages, publisher, { trustDomain, channel, now }) ?? { ...taken, now }
  }

  /** The items of a settlement, each with the message that it is about. */
  async #foundOf(
    receiver: Participant,
    { items }: Settlement,
  ): Promise<readonly FoundItem[] | Refusal> {
    const { members, held: messages } = this.#options
    const member = members.memberOf(receiver)
    if (member instanceof Refusal) return member
    const { name: channel } = member.channel
    const found: FoundItem[] = []
    for (const item of items) {
      const place = { channel, offset: item.offset }
      const held = messages.held(place) ?? (await messages.find(place, receiver.caller))
      if (held instanceof Refusal) return held
      if (held === null) return new Refusal('LEASE_LOST', `${channel} ${item.offset} is gone`)
      found.push({ item, held })
    }
    return found
  }
}
