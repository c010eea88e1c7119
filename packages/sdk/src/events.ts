import { createHash, type Hash } from 'node:crypto'
import { concat, parseUtf8, utf8 } from '@countersign/protocol'
import { AgentError } from './fault.ts'

/** One server-sent event (WHATWG HTML, section 9.2). */
export interface ServerSentEvent {
  /** `message` where the stream names none. */
  readonly event: string
  readonly data: string
  /** The last id that the stream set, as a reconnecting client would send it. */
  readonly id: string
}

/** What stands between two blank lines; a block without data is no event, yet it was forwarded. */
export interface EventBlock {
  readonly data: string
  readonly event: ServerSentEvent | null
}

const lineFeed = 0x0a
const carriageReturn = 0x0d

/**
 * Cuts bytes into the blocks of an event stream: CR, LF and CRLF, one leading byte order mark,
 * comments, several `data` lines. A block that the stream leaves unfinished is dropped, as the
 * standard wants. Throws ANSWER_TOO_LARGE when one block exceeds its limit, and ANSWER_MALFORMED
 * for bytes that are not UTF-8.
 */
export class EventParser {
  readonly #blockBytesMax: number
  #held: Uint8Array[] = []
  #blockBytes = 0
  // A CR ends a line at once; an LF that follows it, even in the next chunk, belongs to it.
  #afterReturn = false
  #first = true
  #data: string[] = []
  #fields = 0
  #name = ''
  #id = ''

  constructor(blockBytesMax: number) {
    this.#blockBytesMax = blockBytesMax
  }

  read(chunk: Uint8Array): readonly EventBlock[] {
    const blocks: EventBlock[] = []
    let from = 0
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]
      const skipped = this.#afterReturn && byte === lineFeed
      this.#afterReturn = byte === carriageReturn
      if (skipped) from = at + 1
      if (skipped || (byte !== lineFeed && byte !== carriageReturn)) continue
      this.#hold(chunk.subarray(from, at))
      from = at + 1
      const block = this.#endLine()
      if (block !== null) blocks.push(block)
    }
    // A copy, because the owner of the chunk may use its memory again.
    if (from < chunk.length) this.#hold(chunk.slice(from))
    return blocks
  }

  #hold(part: Uint8Array): void {
    this.#blockBytes += part.length
    if (this.#blockBytes > this.#blockBytesMax)
      throw new AgentError('ANSWER_TOO_LARGE', 'one event')
    this.#held.push(part)
  }

  #endLine(): EventBlock | null {
    let line = decode(concat(...this.#held))
    this.#held = []
    if (this.#first) line = line.replace(/^\ufeff/, '')
    this.#first = false
    if (line === '') return this.#endBlock()
    // Each line costs something, so that a block of a million empty fields is not free.
    this.#blockBytes += 1
    this.#field(line)
    return null
  }

  #field(line: string): void {
    const colon = line.indexOf(':')
    const field = colon < 0 ? line : line.slice(0, colon)
    const rest = colon < 0 ? '' : line.slice(colon + 1)
    const value = rest.startsWith(' ') ? rest.slice(1) : rest
    if (!['data', 'event', 'id', 'retry'].includes(field)) return
    this.#fields += 1
    if (field === 'data') this.#data.push(value)
    else if (field === 'event') this.#name = value
    else if (field === 'id' && !value.includes('\0')) this.#id = value
  }

  #endBlock(): EventBlock | null {
    this.#blockBytes = 0
    if (this.#fields === 0) return null
    const data = this.#data.join('\n')
    const event = { event: this.#name === '' ? 'message' : this.#name, data, id: this.#id }
    const block = { data, event: this.#data.length === 0 ? null : event }
    this.#data = []
    this.#fields = 0
    this.#name = ''
    return block
  }
}

function decode(line: Uint8Array): string {
  try {
    return parseUtf8(line)
  } catch (cause) {
    throw new AgentError('ANSWER_MALFORMED', 'an event is not UTF-8', { cause })
  }
}

/**
 * The hash that the fabric commits to for a stream: over the data of each block, with its length as
 * four bytes before it. A stream that was cut ends in blocks of the fabric itself, which are not in
 * its transcript: its terminal event, and before it an error for a JSON-RPC client.
 */
export class Transcript {
  #hash = createHash('sha256')
  #beforeLast: Hash = createHash('sha256')
  #beforeLastTwo: Hash = createHash('sha256')

  take(block: EventBlock): void {
    const bytes = utf8(block.data)
    const length = new Uint8Array(4)
    new DataView(length.buffer).setUint32(0, bytes.length)
    this.#beforeLastTwo = this.#beforeLast
    this.#beforeLast = this.#hash.copy()
    this.#hash.update(length).update(bytes)
  }

  digests(): Record<'whole' | 'beforeLast' | 'beforeLastTwo', Uint8Array> {
    return {
      whole: new Uint8Array(this.#hash.copy().digest()),
      beforeLast: new Uint8Array(this.#beforeLast.copy().digest()),
      beforeLastTwo: new Uint8Array(this.#beforeLastTwo.copy().digest()),
    }
  }
}
