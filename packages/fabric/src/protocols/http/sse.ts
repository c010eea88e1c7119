import { EventBlocks, parseUtf8, utf8, visitEventFields } from '@countersign/protocol'
import type { BodyShare } from '../../budgets/body-budget.ts'
import { nextTurn } from '../../budgets/stream-turns.ts'
import { overLimit } from '../../lib/limits.ts'
import { RejectedError, UpstreamError } from '../../lib/upstream-error.ts'
import type { StreamEvent } from '../../pipeline/delivery.ts'
import { hasLineBreak, lineBreaksIn, withoutLineBreaks } from '../../pipeline/line-breaks.ts'
import { droppedError } from '../dropped-error.ts'

/** One event larger than this is refused: it has to be held whole before it may pass. */
export const eventBytesMax = 1024 * 1024
/**
 * So is one of more lines, each of which costs its reader more than its bytes. A character at which
 * only some readers end a line counts as a line: the fabric writes another line for it, or its
 * escape.
 */
export const eventLinesMax = EventBlocks.linesMax
/** So is one with a longer name or id: each is compared and remembered, character by character. */
export const fieldLengthMax = 8 * 1024

/**
 * Minimum size that is counted while an event is inspected and written; smaller events are in their
 * chunk.
 */
const countedBytesMin = 4 * 1024

/**
 * Reads `text/event-stream`, block by block. A block that is not whole is held on the account of
 * the answer. Comments are dropped: they are not inspected, and keep-alives are the fabric's to
 * send. Names of the fabric's own events are for those who know whose stream it is:
 * `inspectedEvents` of a receiver's, `outboundEvents` of one by way of the gateway. Rejects for an
 * event above a limit, for bytes that are not UTF-8, and for a stream that ends inside an event: it
 * is not whole.
 */
export class EventReader implements AsyncIterableIterator<StreamEvent, undefined> {
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #share: BodyShare
  readonly #blocks = new EventBlocks({ bytesMax: eventBytesMax, tooLarge })
  /** Bytes counted for the event under construction, or for the last one returned. */
  #counted = 0
  #isDropped = false

  constructor(chunks: AsyncIterable<Uint8Array>, share: BodyShare) {
    this.#chunks = chunks[Symbol.asyncIterator]()
    this.#share = share
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<StreamEvent, undefined>> {
    this.#count(this.#blocks.heldBytes)
    for (;;) {
      const turn = nextTurn(this)
      if (turn !== null) await turn
      if (this.#isDropped) throw droppedError(this.#share)
      const block = this.#blocks.next()
      if (block === null) {
        this.#count(this.#blocks.heldBytes)
        if (await this.#readOn()) continue
        return { done: true, value: undefined }
      }
      const event = this.#parse(block)
      if (event === null) continue
      this.#blocks.compact()
      if (event.data.length >= countedBytesMin) this.#count(event.data.length)
      return { done: false, value: event }
    }
  }

  /**
   * Drops what was read and not returned yet. A further `next` rejects: an end, or the events after
   * them, would make the stream look whole.
   */
  drop(): void {
    this.#isDropped = true
    this.#blocks.drop()
    this.#count(0)
  }

  return(): Promise<IteratorResult<StreamEvent, undefined>> {
    this.drop()
    return Promise.resolve({ done: true, value: undefined })
  }

  async #readOn(): Promise<boolean> {
    this.#share.isAwaited = true
    const next = await this.#chunks.next()
    this.#share.isAwaited = false
    if (this.#isDropped) throw droppedError(this.#share)
    if (next.done === true) {
      this.#assertNothingBegun()
      return false
    }
    this.#blocks.feed(next.value)
    return true
  }

  #assertNothingBegun(): void {
    const rest = this.#blocks.end()
    // Comments may stand without a blank line; in the middle of a line, nothing is whole.
    if (rest === null || (rest !== 'cut' && this.#parse(rest) === null)) return
    throw new UpstreamError('the stream ended inside an event', { progress: 'sent', cause: null })
  }

  #count(bytes: number): void {
    const more = bytes - this.#counted
    this.#counted = bytes
    if (more > 0) this.#share.take(more)
    else this.#share.give(-more)
  }

  #parse(block: Uint8Array): StreamEvent | null {
    const text = parseUtf8(block)
    const linesLeft = eventLinesMax - this.#blocks.blockLines
    if (lineBreaksIn(text, linesLeft) > linesLeft) throw tooLarge('lines')
    return toEvent(text)
  }
}

const limits = {
  bytes: { name: 'stream.eventBytes', value: eventBytesMax, unit: 'bytes' },
  lines: { name: 'stream.eventLines', value: eventLinesMax, unit: 'count' },
  field: { name: 'stream.fieldLength', value: fieldLengthMax, unit: 'count' },
} as const

function tooLarge(of: keyof typeof limits): Error {
  return new RejectedError(overLimit('RESPONSE_REJECTED', limits[of], `${of} of an event`))
}

const frameFields = ['event', 'id', 'retry'] as const

function toEvent(block: string): StreamEvent | null {
  const data: string[] = []
  // As clients keep them: the last one of its name.
  const last: { [name in (typeof frameFields)[number]]?: string } = {}
  visitEventFields(block, (field, value) => {
    if (field === 'data') data.push(value)
    else last[field] = value
  })
  const frame = frameFields.flatMap((name) => frameField(name, last[name]))
  if (data.length === 0 && frame.length === 0) return null
  const text = data.join('\n')
  const contentType = isMeantAsJson(text) ? 'application/json' : 'text/plain'
  const event = { data: utf8(text), contentType, frame } as const
  return text === '' && data.length > 0 ? { ...event, hasEmptyData: true } : event
}

/** A delay in digits only, and a name or id without anything that a reader may take for a line. */
function frameField(
  name: string,
  value: string | undefined,
): readonly (readonly [string, string])[] {
  if (value === undefined) return []
  if (name === 'retry') return /^[0-9]{1,7}$/.test(value) ? [[name, value]] : []
  if (value.length > fieldLengthMax) throw tooLarge('field')
  if (hasLineBreak(value)) {
    throw new Error(`the receiver sent an event with a line break in its field ${name}`)
  }
  return [[name, value]]
}

/** Longer ones are parsed where they are inspected, and not twice. */
const parsedLengthMax = 8 * 1024
const jsonStart = /^[ \t\n\r]*(?:\{[ \t\n\r]*["}]|\[[ \t\n\r]*["{}\]\-0-9tfn[])/

/**
 * A client parses JSON as JSON, so it has to be inspected as JSON. `[DONE]` and `[a](b)`, with
 * which streams of text end and begin, are text to every client.
 */
function isMeantAsJson(text: string): boolean {
  if (!jsonStart.test(text)) return false
  if (text.length > parsedLengthMax) return true
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** The bytes of one event, in which every reader sees the same lines. */
export function formatEvent(event: StreamEvent): Uint8Array {
  const frame = event.frame.map(([name, value]) => `${name}: ${value}\n`).join('')
  const { data: bytes, contentType, hasPlainBreaks } = event
  const data = parseUtf8(hasPlainBreaks ? bytes : withoutLineBreaks(bytes, contentType))
  if (data === '' && event.frame.length > 0 && !event.hasEmptyData) return utf8(`${frame}\n`)
  return utf8(`${frame}data: ${data.replace(/\r\n?|\n/g, '\ndata: ')}\n\n`)
}
