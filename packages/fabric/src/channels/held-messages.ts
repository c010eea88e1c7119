import { parseSealedMessage, SEALED_BYTES_MAX, type SealedMessage } from '@countersign/protocol'
import { Refusal } from '../lib/refusal.ts'
import { sha256OfParts } from '../lib/sha256.ts'
import type { ChannelStore } from './channel-store.ts'
import type { LeaseMemory } from './lease-memory.ts'

/**
 * Maximum number of messages for which the data that receivers countersign is kept from lease to
 * settlement, so that settling reads nothing back.
 */
const heldMax = 65_536

export interface HeldMessage {
  readonly messageId: string
  readonly sealedHash: Uint8Array
  readonly senderSignature: Uint8Array
  /**
   * The labels that policy decides on when the message is settled, as it did when the message was
   * handed out.
   */
  readonly labels: readonly string[]
}

/**
 * Of labels in UTF-16 units; a message with more is read back from the store when it is settled.
 */
const labelsLengthMax = 256

interface Place {
  readonly channel: string
  readonly offset: number
}

/**
 * By channel and offset; the oldest goes first, and is read back from the store when it is missed.
 */
export class HeldMessages {
  readonly #store: Pick<ChannelStore, 'find'>
  readonly #memory: LeaseMemory
  readonly #held = new Map<string, HeldMessage>()

  constructor(store: Pick<ChannelStore, 'find'>, memory: LeaseMemory) {
    this.#store = store
    this.#memory = memory
  }

  /** `message` is what `sealed` was parsed to. */
  hold({ channel, offset }: Place, sealed: Uint8Array, message: SealedMessage): HeldMessage {
    const held = {
      messageId: message.header.messageId,
      // Copies: the views would keep the buffers alive that they lie in.
      sealedHash: new Uint8Array(sha256OfParts(sealed)),
      senderSignature: message.signature.slice(),
      labels: message.header.labels,
    }
    if (held.labels.reduce((sum, { length }) => sum + length, 0) > labelsLengthMax) return held
    const oldest = this.#held.keys().next()
    if (this.#held.size >= heldMax && oldest.done === false) this.#held.delete(oldest.value)
    this.#held.set(`${channel} ${offset}`, held)
    return held
  }

  /** The message, if nothing has to be read for it. */
  held({ channel, offset }: Place): HeldMessage | null {
    return this.#held.get(`${channel} ${offset}`) ?? null
  }

  /** Null when the message is gone. `identity` is whose share of memory it is read into. */
  async find(place: Place, identity: string): Promise<HeldMessage | Refusal | null> {
    const { channel, offset } = place
    const held = this.#held.get(`${channel} ${offset}`)
    if (held !== undefined) return held
    const room = await this.#memory.reserveExactly(identity, SEALED_BYTES_MAX)
    if (room instanceof Refusal) return room
    try {
      // Many settlements may have waited for the same message, and one of them has read it.
      const read = this.#held.get(`${channel} ${offset}`)
      if (read !== undefined) return read
      const stored = await this.#store.find(channel, offset)
      const message = stored === null ? null : parseSealedMessage(stored.sealed)
      return stored === null || message === null ? null : this.hold(place, stored.sealed, message)
    } finally {
      room.release()
    }
  }

  drop({ channel, offset }: Place): void {
    this.#held.delete(`${channel} ${offset}`)
  }
}
