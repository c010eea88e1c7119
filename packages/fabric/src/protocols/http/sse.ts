import { ArrivingBytes, parseUtf8, utf8 } from '@countersign/protocol'
import type { BodyShare } from '../../budgets/body-budget.ts'
import { streamTurns } from '../../budgets/fair-turns.ts'
import { overLimit } from '../../lib/limits.ts'
import { RejectedError, UpstreamError } from '../../lib/upstream-error.ts'
import type { StreamEvent } from '../../pipeline/delivery.ts'
import { hasLineBreak, lineBreaksIn, withoutLineBreaks } from '../../pipeline/line-breaks.ts'

/** One event larger than this is refused: it has to be held whole before it may pass. */
export const eventBytesMax = 1024 * 1024
/**
 * So is one of more lines, each of which costs its reader more than its bytes. A character at which
 * only some readers end a line counts as a line: the fabric writes another line for it, or its
 * escape.
 */
export const eventLinesMax = 16_384
/** So is one with a longer name or id: each is compared and remembered, character by character. */
export const fieldLengthMax = 8 * 1024

const lineFeed = 0x0a
const carriageReturn = 0x0d

/**
 * Minimum size that is counted while an event is inspected and written; smaller events are in their
 * chunk.
 */
const countedBytesMin = 4 * 1024

const nothing = new Uint8Array(0)

/**
 * Reads `text/event-stream` (WHATWG HTML, section 9.2.6) by bytes, so that no chunk boundary can
 * split a character, a line or an event past inspection. Only the end of an event is looked for in
 * what arrives; it is parsed once, when it is whole, and until then it is held as bytes, on the
 * account of the answer. Comments are dropped: they are not inspected, and keep-alives are the
 * fabric's to send. Names of the fabric's own events are for those who know whose stream it is:
 * `inspectedEvents` of a receiver's, `outboundEvents` of one by way of the gateway. Rejects for an
 * event above a limit, for bytes that are not UTF-8, and for a stream that ends inside an event: it
 * is not whole.
 */
export class EventReader implements AsyncIterableIterator<StreamEvent, undefined> {
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #share: BodyShare
  /** The beginning of an event of which the end has not arrived. */
  readonly #begun = new ArrivingBytes(eventBytesMax)
  #chunk: Uint8Array = nothing
  #at = 0
  #lines = 0
  #atLineStart = true
  #afterReturn = false
  #isFirst = true
  /** Bytes counted for the event under construction, or for the last one returned. */
  #counted = 0

  constructor(chunks: AsyncIterable<Uint8Array>, share: BodyShare) {
    this.#chunks = chunks[Symbol.asyncIterator]()
    this.#share = share
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<StreamEvent, undefined>> {
    this.#count(this.#begun.heldBytes)
    for (;;) {
      const turn = streamTurns.next(this)
      if (turn !== null) await turn
      const block = this.#nextBlock()
      if (block === null) {
        if (await this.#readOn()) continue
        return { done: true, value: undefined }
      }
      const event = this.#parse(block)
      if (event === null) continue
      this.#compact()
      if (event.data.length >= countedBytesMin) this.#count(event.data.length)
      return { done: false, value: event }
    }
  }

  /** Lets go of what was read and not given yet. */
  drop(): void {
    this.#chunk = nothing
    this.#at = 0
    this.#begun.take()
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
    if (next.done === true) {
      if (this.#begun.length > 0) this.#assertNothingBegun()
      return false
    }
    this.#chunk = next.value
    this.#at = 0
    return true
  }

  #assertNothingBegun(): void {
    // Comments may stand without a blank line; in the middle of a line, nothing is whole.
    if (this.#atLineStart && this.#parse(this.#begun.take()) === null) return
    throw new UpstreamError('the stream ended inside an event', { progress: 'sent', cause: null })
  }

  /** The next lines up to a blank one; null when more has to be read for that. */
  #nextBlock(): Uint8Array | null {
    const chunk = this.#chunk
    let start = this.#at
    for (let at = start; at < chunk.length; at++) {
      const byte = chunk[at]
      if (byte !== lineFeed && byte !== carriageReturn) {
        this.#atLineStart = false
        this.#afterReturn = false
        continue
      }
      const endsReturn = this.#afterReturn && byte === lineFeed
      this.#afterReturn = byte === carriageReturn
      if (endsReturn) {
        // The second half of a line break that has ended its line, or its block, already.
        if (at === start && this.#begun.length === 0) start = at + 1
        continue
      }
      if (!this.#atLineStart) {
        this.#atLineStart = true
        if (++this.#lines > eventLinesMax) throw tooLarge('lines')
        continue
      }
      const block = this.#blockUpTo(chunk, start, at)
      start = at + 1
      if (block.length === 0) continue
      this.#at = start
      return block
    }
    this.#begin(chunk.subarray(start))
    this.#chunk = nothing
    this.#at = 0
    return null
  }

  #blockUpTo(chunk: Uint8Array, start: number, end: number): Uint8Array {
    const part = chunk.subarray(start, end)
    if (this.#begun.length === 0) {
      if (part.length > eventBytesMax) throw tooLarge('bytes')
      return part
    }
    if (!this.#begun.add(part)) throw tooLarge('bytes')
    return this.#begun.take()
  }

  #begin(part: Uint8Array): void {
    if (part.length === 0) return
    if (!this.#begun.add(part)) throw tooLarge('bytes')
    this.#count(this.#begun.heldBytes)
  }

  /**
   * The rest of a chunk may wait for a slow reader, and must not keep the whole chunk in memory.
   */
  #compact(): void {
    const left = this.#chunk.length - this.#at
    if (left > 0 && 2 * left >= this.#chunk.buffer.byteLength) return
    this.#chunk = left === 0 ? nothing : this.#chunk.slice(this.#at)
    this.#at = 0
  }

  #count(bytes: number): void {
    const more = bytes - this.#counted
    this.#counted = bytes
    if (more > 0) this.#share.take(more)
    else this.#share.give(-more)
  }

  #parse(block: Uint8Array): StreamEvent | null {
    let text = parseUtf8(block)
    if (this.#isFirst) text = text.replace(/^\ufeff/, '')
    this.#isFirst = false
    const linesLeft = eventLinesMax - this.#lines
    this.#lines = 0
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
  for (const line of block.split(/\r\n?|\n/)) {
    const colon = line.indexOf(':')
    const name = colon < 0 ? line : line.slice(0, colon)
    if (name !== 'data' && name !== 'event' && name !== 'id' && name !== 'retry') continue
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (name === 'data') data.push(value)
    else last[name] = value
  }
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
