import { concat, parseUtf8, utf8 } from '@countersign/protocol'
import type { StreamEvent } from '../../pipeline/delivery.ts'

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
  let pending: Uint8Array<ArrayBufferLike> = new Uint8Array(0)
  let fields: (readonly [string, string])[] = []
  let eventBytes = 0
  let first = true
  let skipLineFeed = false
  for await (const chunk of chunks) {
    pending = pending.length === 0 ? chunk : concat(pending, chunk)
    let start = 0
    for (let at = 0; at < pending.length; at++) {
      const byte = pending[at]
      if (skipLineFeed && at === start && byte === lineFeed) {
        start = at + 1
        skipLineFeed = false
        continue
      }
      skipLineFeed = false
      if (byte !== lineFeed && byte !== carriageReturn) continue
      let line = parseUtf8(pending.subarray(start, at))
      if (first) line = line.replace(/^\ufeff/, '')
      first = false
      eventBytes += at - start
      if (eventBytes > eventBytesMax) throw new Error(`an event exceeds ${eventBytesMax} bytes`)
      start = at + 1
      skipLineFeed = byte === carriageReturn
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
    pending = pending.subarray(start)
    if (eventBytes + pending.length > eventBytesMax) {
      throw new Error(`an event exceeds ${eventBytesMax} bytes`)
    }
  }
}

function parseField(line: string): readonly [string, string] | null {
  const colon = line.indexOf(':')
  if (colon === 0) return null
  if (colon < 0) return [line, '']
  const value = line.slice(colon + 1)
  return [line.slice(0, colon), value.startsWith(' ') ? value.slice(1) : value]
}

const frameFields: readonly string[] = ['event', 'id', 'retry']

function toEvent(fields: readonly (readonly [string, string])[]): StreamEvent | null {
  const data = fields.filter(([name]) => name === 'data').map(([, value]) => value)
  const frame = fields.filter(([name]) => frameFields.includes(name))
  if (data.length === 0 && frame.length === 0) return null
  const text = data.join('\n')
  return {
    data: utf8(text),
    contentType: looksLikeJson(text) ? 'application/json' : 'text/plain',
    frame,
  }
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
  const lines = data.split('\n').map((line) => `data: ${line}\n`)
  return utf8(`${frame}${lines.join('')}\n`)
}
