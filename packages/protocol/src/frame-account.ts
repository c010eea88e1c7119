/** The frames of a head and what precedes its fields. */
const bytesPerHead = 64
/** What precedes a name and its value, at most. */
const bytesPerField = 12
/** The head of a DATA frame. */
const bytesPerPiece = 9
/** Control frames of a client that opens and moves windows, asks for the delay, and sets priorities. */
const bytesPerSecond = 128 * 1024
const burstBytes = 1024 * 1024
/** Pieces of bodies may be read from the connection before they are taken. */
const aheadBytesMax = 128 * 1024

/**
 * What an HTTP/2 connection sends besides requests: PING, SETTINGS, WINDOW_UPDATE, padding, frames of
 * unknown types, heads that the session refuses. Each costs the event loop up to a microsecond for nine
 * bytes and asks for nothing, so that no rate limit of requests sees it. HTTP/2 itself bounds some of
 * them; this bounds all of them, by their bytes.
 */
export class FrameAccount {
  #readBytes = 0
  #owed = 0
  #credit = 0

  /** The head of a request, of names and values: as much as it can have taken, and no more. */
  request(rawHeaders: readonly string[]): void {
    let bytes = bytesPerHead + (bytesPerField / 2) * rawHeaders.length
    for (const { length } of rawHeaders) bytes += length
    this.#credit += bytes
  }

  /** A piece of a body that is wanted; padding may double it. */
  piece(bytes: number): void {
    this.#credit += 2 * bytes + bytesPerPiece
  }

  /** Whether more came besides than a client has reason to send; `readBytes` is the total so far. */
  isOver(readBytes: number, elapsedMs: number): boolean {
    const came = readBytes - this.#readBytes
    this.#readBytes = readBytes
    const owed = this.#owed + came - this.#credit - (bytesPerSecond * elapsedMs) / 1_000
    this.#credit = 0
    this.#owed = Math.max(owed, -aheadBytesMax)
    return owed > burstBytes
  }
}
