/** An incremental SHA-256, such as `createHash('sha256')` of Node. Web Crypto has none. */
export interface IncrementalHash {
  update(bytes: Uint8Array): unknown
  copy(): IncrementalHash
  digest(): Uint8Array
}

/** SHA-256 over `length ‖ frame` of every frame, the length in four bytes, big-endian. */
export class TranscriptHash {
  readonly #hash: IncrementalHash

  constructor(hash: IncrementalHash) {
    this.#hash = hash
  }

  add(frame: Uint8Array): void {
    const length = new Uint8Array(4)
    new DataView(length.buffer).setUint32(0, frame.length)
    this.#hash.update(length)
    this.#hash.update(frame)
  }

  /** Another one that has the same frames so far. */
  copy(): TranscriptHash {
    return new TranscriptHash(this.#hash.copy())
  }

  digest(): Uint8Array {
    return new Uint8Array(this.#hash.copy().digest())
  }
}
