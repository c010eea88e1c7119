import { createHash, type Hash } from 'node:crypto'

/** SHA-256 over `length ‖ frame` of every frame, the length in four bytes, big-endian. */
export class TranscriptHash {
  readonly #hash: Hash

  constructor(hash: Hash = createHash('sha256')) {
    this.#hash = hash
  }

  add(frame: Uint8Array): void {
    const length = new Uint8Array(4)
    new DataView(length.buffer).setUint32(0, frame.length)
    this.#hash.update(length).update(frame)
  }

  /** Another one that has the same frames so far. */
  copy(): TranscriptHash {
    return new TranscriptHash(this.#hash.copy())
  }

  digest(): Uint8Array {
    return this.#hash.copy().digest()
  }
}
