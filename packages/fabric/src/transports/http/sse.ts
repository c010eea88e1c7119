import { parseUtf8, utf8 } from '@countersign/protocol'
import type { StreamEvent } from '../../pipeline/delivery.ts'
import { ArrivingBytes } from './arriving-bytes.ts'

/** One event larger than this is refused: it has to be held whole before it may pass. */
export const eventBytesMax = 1024 * 1024

const lineFeed = 0x0a
const carriageReturn = 0x0d

/**
 * Parses `text/event-stream` (WHATWG HTML, section 9.2.6) by bytes, so that no chunk boundary can
 * split a character, a line or an event past inspection. Comments are dropped: nobody inspects
 * them, and keep-alives are ours to send. Throws on an event above the limit and on bytes that are
 * not UTF-8; a last event without its blank line is not an event and is dropped.
 */
export async function* parseEvents(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<StreamEvent> {
  // What came of a line that has not ended. Each byte is looked at once, in whatever pieces it comes.
  const begun = new ArrivingBytes(eventBytesMax)
  let fields: (readonly [string, string])[] = []
  let eventBytes = 0
  let first = true
  let endedByReturn = false
  for await (const chunk of chunks) {
    if (chunk.length === 0) continue
    let start: number = endedByReturn && chunk[0] === lineFeed ? 1 : 0
    endedByReturn = false
    for (let at = start; at < chunk.length; at++) {
      const byte = chunk[at]
      if (byte !== lineFeed && byte !== carriageReturn) continue
      const bytes =
        begun.length === 0 ? chunk.subarray(start, at) : wholeOf(begun, chunk, start, at)
      let line = parseUtf8(bytes)
      if (first) line = line.replace(/^\ufeff/, '')
      first = false
      eventBytes += bytes.length
      if (eventBytes > eventBytesMax) throw tooLarge()
      if (byte === carriageReturn && chunk[at + 1] === lineFeed) at += 1
      start = at + 1
      endedByReturn = byte === carriageReturn && start === chunk.length
      if (line !== '') {
        const field = parseField(line)
        if (field !== null) fields.push(field)
        continue
      }
      const event = toEvent(fields)
      fields = []
      eventBytes = 0
      if (event !== null) yield event
    }
    begun.add(chunk.subarray(start))
    if (eventBytes + begun.length > eventBytesMax) throw tooLarge()
  }
}

function wholeOf(begun: ArrivingBytes, chunk: Uint8Array, start: number, end: number): Uint8Array {
  if (!begun.add(chunk.subarray(start, end))) throw tooLarge()
  return begun.take()
}

function tooLarge(): Error {
  return new Error(`an event exceeds ${eventBytesMax} bytes`)
}

function parseField(line: string): readonly [string, string] | null {
  const colon = line.indexOf(':')
  if (colon === 0) return null
  if (colon < 0) return [line, '']
  const value = line.slice(colon + 1)
  return [line.slice(0, colon), value.startsWith(' ') ? value.slice(1) : value]
}

const frameFields: readonly string[] = ['event', 'id', 'retry']
/** Ends a stream in the fabric's own name; from a receiver it would be a forgery. */
const reservedEvent = /^\s*countersign-/i

function toEvent(fields: readonly (readonly [string, string])[]): StreamEvent | null {
  const data = fields.filter(([name]) => name === 'data').map(([, value]) => value)
  const frame = frameFields.flatMap((name) => frameField(name, fields))
  if (data.length === 0 && frame.length === 0) return null
  const text = data.join('\n')
  return {
    data: utf8(text),
    contentType: looksLikeJson(text) ? 'application/json' : 'text/plain',
    frame,
  }
}

/** The field as clients keep it: the last one of its name, and a delay in digits only. */
function frameField(
  name: string,
  fields: readonly (readonly [string, string])[],
): readonly (readonly [string, string])[] {
  const value = fields.findLast(([each]) => each === name)?.[1]
  if (value === undefined) return []
  if (name === 'event' && reservedEvent.test(value)) {
    throw new Error(`the receiver sent an event named ${value.slice(0, 40)}`)
  }
  return name === 'retry' && !/^[0-9]{1,7}$/.test(value) ? [] : [[name, value]]
}

/** A client parses what looks like JSON as JSON, so it has to be inspected as JSON. */
function looksLikeJson(text: string): boolean {
  const start = text.trimStart()[0]
  return start === '{' || start === '['
}

/** The bytes of one event. Line breaks inside `frame` were impossible in what was parsed. */
export function formatEvent(event: StreamEvent): Uint8Array {
  const frame = event.frame.map(([name, value]) => `${name}: ${value}\n`).join('')
  const data = parseUtf8(event.data)
  if (data === '' && event.frame.length > 0) return utf8(`${frame}\n`)
  const lines = data.split(/\r\n?|\n/).map((line) => `data: ${line}\n`)
  return utf8(`${frame}${lines.join('')}\n`)
}
