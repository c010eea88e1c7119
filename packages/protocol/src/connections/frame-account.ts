import { fewestHeadOctets, fewestReferringOctets } from './head-octets.ts'

/**
 * Control frames of a client that opens and moves windows, asks for the delay, and sets priorities.
 */
const bytesPerSecond = 128 * 1024
const burstBytes = 1024 * 1024
/**
 * A client that writes strings without Huffman's code takes up to two fifths more for a head than
 * the fewest octets. The credit that other clients gain by it is worth fewer frames than their
 * request costs.
 */
const plainShare = 0.4
const plainBytesMax = 512
/** Pieces of bodies may be read from the connection before they are taken. */
const aheadBytesMax = 128 * 1024

/**
 * Counts the bytes that an HTTP/2 connection sends besides requests: PING, SETTINGS, WINDOW_UPDATE,
 * padding, frames of unknown types, heads that the session refuses. Each costs the event loop up to
 * a microsecond for nine bytes and asks for nothing, so that no rate limit of requests sees it.
 * HTTP/2 itself bounds some of them; this bounds all of them, by their bytes.
 */
export class FrameAccount {
  #readBytes = 0
  #owed = 0
  #credit = 0
  #isTableEmpty = false

  /** From now on no field refers to an earlier one: the client's compression table is empty. */
  emptyTable(): void {
    this.#isTableEmpty = true
  }

  /**
   * The head of a request, of names and values: what it can have taken, and 512 bytes more at most.
   */
  request(rawHeaders: readonly string[]): void {
    const octets = this.#isTableEmpty
      ? fewestHeadOctets(rawHeaders)
      : fewestReferringOctets(rawHeaders)
    this.#credit += octets + Math.min(plainBytesMax, octets * plainShare)
  }

  /** A piece of a body that is wanted. Heads of frames and padding count as sent besides. */
  piece(bytes: number): void {
    this.#credit += bytes
  }

  /**
   * Reports whether more bytes came besides requests than a client has reason to send; `readBytes`
   * is the total so far.
   */
  isOver(readBytes: number, elapsedMs: number): boolean {
    const came = readBytes - this.#readBytes
    this.#readBytes = readBytes
    const owed = this.#owed + came - this.#credit - (bytesPerSecond * elapsedMs) / 1_000
    this.#credit = 0
    this.#owed = Math.max(owed, -aheadBytesMax)
    return owed > burstBytes
  }
}
