/**
 * Remembers nonces for at least `windowMs`, in two generations, so that forgetting costs nothing. A
 * live nonce is never forgotten to make space: an attacker would only have to send enough. Time is
 * monotonic: setting the wall clock backward or forward must neither keep nor free a nonce.
 */
export class NonceMemory {
  readonly #windowMs: number
  readonly #noncesMax: number
  #young = new Set<string>()
  #old = new Set<string>()
  #turnedAt: number

  /** At most `noncesMax` in each of the two generations. `now` is monotonic milliseconds. */
  constructor(windowMs: number, noncesMax: number, now: number) {
    this.#windowMs = windowMs
    this.#noncesMax = noncesMax
    this.#turnedAt = now
  }

  /** `full` means that the answer is unknown, which counts as a rejection as well. */
  claim(nonce: string, now: number): 'first' | 'seen' | 'full' {
    if (now - this.#turnedAt >= this.#windowMs) {
      this.#old = now - this.#turnedAt >= 2 * this.#windowMs ? new Set() : this.#young
      this.#young = new Set()
      this.#turnedAt = now
    }
    if (this.#young.has(nonce) || this.#old.has(nonce)) return 'seen'
    if (this.#young.size >= this.#noncesMax) return 'full'
    this.#young.add(nonce)
    return 'first'
  }
}
