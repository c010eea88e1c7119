import {
  batchAlgorithm,
  type MessageAlgorithm,
  messageBatchMax,
  type PreparedSignature,
  type SignedMessage,
  signedMessage,
  signMessageBatch,
  utf8,
} from '@countersign/protocol'
import { sha256 } from '../../lib/sha256.ts'
import type { KeySigner } from '../http/forward-signature.ts'

/**
 * The field with which a connector states that it verifies `countersign-ed25519-batch`, in each
 * request to another one. An endpoint that is registered as a connector verifies it always.
 */
export const acceptsBatch = ['countersign-accept-signature', batchAlgorithm] as const

/** One message to be signed: its base names the algorithm, so it is made once that is known. */
export interface UnsignedMessage {
  readonly label: 'caller' | 'callee'
  /** Throws a MalformedError where the message cannot be signed. */
  prepare(alg: MessageAlgorithm): PreparedSignature
}

interface Waiting {
  readonly message: UnsignedMessage
  resolve(signed: SignedMessage): void
  reject(cause: unknown): void
}

/**
 * Signs the messages of one turn of the event loop with one signature: a connector under load reads
 * many in each turn, and one that is idle reads one, which gets an ordinary signature at once.
 * Nothing waits for a timer. No more messages wait than the connector's shares of bodies let in.
 */
export class MessageSigner {
  readonly #signer: KeySigner
  readonly #made: WeakSet<SignedMessage>
  #waiting: Waiting[] = []

  /** `made` collects every signature, so that this process does not verify its own. */
  constructor(signer: KeySigner, made: WeakSet<SignedMessage>) {
    this.#signer = signer
    this.#made = made
  }

  get keyId(): string {
    return this.#signer.keyId
  }

  /** By itself: for a reader that may not know batches, and for a copy that leaves now. */
  sign(message: UnsignedMessage): SignedMessage {
    const prepared = message.prepare('ed25519')
    return this.#signed(message, prepared, this.#signer.sign(utf8(prepared.base)))
  }

  /** Together with the others of this turn; only for a reader that verifies batches. */
  signInBatch(message: UnsignedMessage): Promise<SignedMessage> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => this.#signWaiting())
      this.#waiting.push({ message, resolve, reject })
    })
  }

  #signWaiting(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (let at = 0; at < waiting.length; at += messageBatchMax) {
      this.#signTogether(waiting.slice(at, at + messageBatchMax))
    }
  }

  #signTogether(batch: readonly Waiting[]): void {
    const [only] = batch
    if (batch.length === 1 && only !== undefined) return settle(only, () => this.sign(only.message))
    const ready: { readonly each: Waiting; readonly prepared: PreparedSignature }[] = []
    for (const each of batch) {
      try {
        ready.push({ each, prepared: each.message.prepare(batchAlgorithm) })
      } catch (cause) {
        each.reject(cause)
      }
    }
    // A tree of one leaf has no path: the rest of a batch is signed like a message by itself.
    if (ready.length < 2)
      return ready.forEach(({ each }) => settle(each, () => this.sign(each.message)))
    try {
      const bases = ready.map(({ prepared }) => prepared.base)
      const sign = (bytes: Uint8Array) => this.#signer.sign(bytes)
      const values = signMessageBatch(bases, { hash: sha256, sign })
      for (const [at, { each, prepared }] of ready.entries()) {
        const value = values[at]
        if (value !== undefined) each.resolve(this.#signed(each.message, prepared, value))
      }
    } catch (cause) {
      for (const { each } of ready) each.reject(cause)
    }
  }

  #signed(
    { label }: UnsignedMessage,
    prepared: PreparedSignature,
    signature: Uint8Array,
  ): SignedMessage {
    const signed = signedMessage(label, prepared, signature)
    this.#made.add(signed)
    return signed
  }
}

function settle({ resolve, reject }: Waiting, sign: () => SignedMessage): void {
  try {
    resolve(sign())
  } catch (cause) {
    reject(cause)
  }
}
