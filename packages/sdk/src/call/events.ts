import { EventBlocks, parseUtf8, visitEventFields } from '@countersign/protocol'
import { AgentError } from '../lib/fault.ts'

/** One server-sent event (WHATWG HTML, section 9.2). */
export interface ServerSentEvent {
  /** `message` where the stream names none. */
  readonly event: string
  readonly data: string
  /** The last id that the stream set, as a reconnecting client would send it. */
  readonly id: string
}

/**
 * The content between two blank lines; a block without data is not an event, yet it was forwarded.
 */
export interface EventBlock {
  readonly data: string
  readonly event: ServerSentEvent | null
}

/**
 * Reads the blocks of an event stream. Throws ANSWER_TOO_LARGE when one block exceeds its limit,
 * and ANSWER_MALFORMED for bytes that are not UTF-8.
 */
export class EventParser {
  readonly #blocks: EventBlocks
  #id = ''

  constructor(blockBytesMax: number) {
    this.#blocks = new EventBlocks({ bytesMax: blockBytesMax, tooLarge })
  }

  read(chunk: Uint8Array): readonly EventBlock[] {
    const read: EventBlock[] = []
    this.#blocks.feed(chunk)
    for (let bytes = this.#blocks.next(); bytes !== null; bytes = this.#blocks.next()) {
      const block = this.#parse(bytes)
      if (block !== null) read.push(block)
    }
    return read
  }

  /**
   * To be called when the stream has ended. Throws BODY_UNFINISHED when it ended inside a block.
   */
  end(): void {
    const rest = this.#blocks.end()
    if (rest === null || (rest !== 'cut' && this.#parse(rest) === null)) return
    throw new AgentError('BODY_UNFINISHED', 'the stream ended inside an event')
  }

  #parse(bytes: Uint8Array): EventBlock | null {
    const data: string[] = []
    let name = ''
    let fields = 0
    visitEventFields(decode(bytes), (field, value) => {
      fields += 1
      if (field === 'data') data.push(value)
      else if (field === 'event') name = value
      else if (field === 'id' && !value.includes('\0')) this.#id = value
    })
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
