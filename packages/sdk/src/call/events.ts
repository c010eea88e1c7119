import { createHash, type Hash } from 'node:crypto'
import { ArrivingBytes, parseUtf8, utf8 } from '@countersign/protocol'
import { AgentError } from '../lib/fault.ts'

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

/** Lines of one block, comments included: each costs its reader more than its bytes. */
const blockLinesMax = 16_384

/**
 * Cuts bytes into the blocks of an event stream: CR, LF and CRLF, one leading byte order mark,
 * comments, several `data` lines. A block is held as bytes and parsed once, when it is whole.
 * Throws ANSWER_TOO_LARGE when one block exceeds its limit, and ANSWER_MALFORMED for bytes that are
 * not UTF-8.
 */
export class EventParser {
  readonly #blockBytesMax: number
  readonly #begun: ArrivingBytes
  #lines = 0
  #atLineStart = true
  // A CR ends a line at once; an LF that follows it, even in the next chunk, belongs to it.
  #afterReturn = false
  #isFirst = true
  #id = ''

  constructor(blockBytesMax: number) {
    this.#blockBytesMax = blockBytesMax
    this.#begun = new ArrivingBytes(blockBytesMax)
  }

  read(chunk: Uint8Array): readonly EventBlock[] {
    const blocks: EventBlock[] = []
    let from = 0
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]
      if (byte !== lineFeed && byte !== carriageReturn) {
        this.#atLineStart = false
        this.#afterReturn = false
        continue
      }
      const endsReturn = this.#afterReturn && byte === lineFeed
      this.#afterReturn = byte === carriageReturn
      if (endsReturn) {
        if (at === from && this.#begun.length === 0) from = at + 1
        continue
      }
      if (!this.#atLineStart) {
        this.#atLineStart = true
        this.#lines += 1
        if (this.#lines > blockLinesMax) throw tooLarge()
        continue
      }
      const block = this.#endBlock(chunk.subarray(from, at))
      from = at + 1
      if (block !== null) blocks.push(block)
    }
    this.#hold(chunk.subarray(from))
    return blocks
  }

  /**
   * To be called when the stream has ended. Throws BODY_UNFINISHED when it ended inside a block.
   */
  end(): void {
    if (this.#begun.length === 0) return
    if (this.#atLineStart && this.#endBlock(new Uint8Array(0)) === null) return
    throw new AgentError('BODY_UNFINISHED', 'the stream ended inside an event')
  }

  #hold(part: Uint8Array): void {
    if (part.length > 0 && !this.#begun.add(part)) throw tooLarge()
  }

  #endBlock(part: Uint8Array): EventBlock | null {
    this.#lines = 0
    if (this.#begun.length === 0 && part.length > this.#blockBytesMax) throw tooLarge()
    if (this.#begun.length > 0) this.#hold(part)
    const whole = this.#begun.length > 0 ? this.#begun.take() : part
    if (whole.length === 0) return null
    let text = decode(whole)
    if (this.#isFirst) text = text.replace(/^\ufeff/, '')
    this.#isFirst = false
    return this.#parse(text)
  }

  #parse(block: string): EventBlock | null {
    const data: string[] = []
    let name = ''
    let fields = 0
    for (const line of block.split(/\r\n?|\n/)) {
      const colon = line.indexOf(':')
      const field = colon < 0 ? line : line.slice(0, colon)
      if (field !== 'data' && field !== 'event' && field !== 'id' && field !== 'retry') continue
      const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
      fields += 1
      if (field === 'data') data.push(value)
      else if (field === 'event') name = value
      else if (field === 'id' && !value.includes('\0')) this.#id = value
    }
    if (fields === 0) return null
    const text = data.join('\n')
    const event = { event: name === '' ? 'message' : name, data: text, id: this.#id }
    return { data: text, event: data.length === 0 ? null : event }
  }
}

function tooLarge(): AgentError {
  return new AgentError('ANSWER_TOO_LARGE', 'one event')
}

function decode(block: Uint8Array): string {
  try {
    return parseUtf8(block)
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
