import { parseUtf8, utf8 } from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { answerBudget } from '../../budgets/answer-budget.ts'
import { systemClock } from '../../lib/clock.ts'
import type { StreamEvent } from '../../pipeline/delivery.ts'
import { hasLineBreak } from '../../pipeline/line-breaks.ts'
import { EventReader, eventBytesMax, eventLinesMax, fieldLengthMax, formatEvent } from './sse.ts'

async function* inChunks(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0
  for (let turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1
    yield bytes.subarray(at, at + size)
    at += size
  }
}

function open() {
  const budget = answerBudget({
    ...{ name: 'limits.responseMemoryBytes', totalBytesMax: 64 * 1024 * 1024 },
    ...{ receiverPart: 1, callerPart: 1, bodyBytesMax: 1024, clock: systemClock },
  })
  return { budget, share: budget.open('receiver', 'caller') }
}

const parseEvents = (chunks: AsyncIterable<Uint8Array>, { share } = open()) =>
  new EventReader(chunks, share)

async function collect(
  text: string,
  sizes: readonly number[] = [1_000_000],
): Promise<StreamEvent[]> {
  const events: StreamEvent[] = []
  for await (const event of parseEvents(inChunks(utf8(text), sizes))) events.push(event)
  return events
}

const line = fc.string({ unit: 'grapheme' }).filter((text) => !/[\r\n\ufeff]/.test(text))
/** Without what other readers take for a line break, which is written in another way. */
const plainLine = line.filter((text) => !hasLineBreak(text))

describe('EventReader', () => {
  test('gives the same events whatever the chunk boundaries are', async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 5 })
    const events = fc.array(fc.array(line, { minLength: 1, maxLength: 3 }), { maxLength: 4 })
    const breaks = fc.constantFrom('\n', '\r\n', '\r')
    await fc.assert(
      fc.asyncProperty(events, sizes, breaks, async (wanted, chunkSizes, lineBreak) => {
        const text = wanted
          .map((lines) => [...lines.map((each) => `data: ${each}`), '', ''].join(lineBreak))
          .join('')
        const got = await collect(text, chunkSizes)
        expect(got.map(({ data }) => parseUtf8(data))).toEqual(
          wanted.map((lines) => lines.join('\n')),
        )
      }),
    )
  })

  test('a formatted event parses to itself', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(plainLine, { minLength: 1 }), async (lines) => {
        const frame = [['event', 'x'] as const, ['id', '7'] as const]
        const event = { data: utf8(lines.join('\n')), contentType: 'text/plain', frame } as const
        const [parsed] = await collect(parseUtf8(formatEvent(event)))
        expect(parsed?.data).toEqual(event.data)
        expect(parsed?.frame).toEqual(frame)
      }),
    )
  })

  test('data that every client reads as text is text, and data that one may parse as JSON is JSON', async () => {
    const typeOf = async (text: string) =>
      (await collect(`data: ${text}\n\n`)).map(({ contentType }) => contentType)
    for (const text of ['[DONE]', '[info] x', '{name} hi', '[a](http://x)', '[note]', '{"a"', '']) {
      expect(await typeOf(text), text).toEqual(['text/plain'])
    }
    for (const text of ['{}', '[]', ' {"a":1}', '[1]', `["${'x'.repeat(20_000)}"]`, '[[true]]']) {
      expect(await typeOf(text), text).toEqual(['application/json'])
    }
  })

  test('empty data stays, since some readers take an id for its sake alone', async () => {
    for (const text of ['id: a\ndata: \n\n', 'event: ping\ndata: \n\n', 'id: a\n\n']) {
      const [event] = await collect(text.replaceAll('data: ', 'data'))
      expect(event === undefined ? null : parseUtf8(formatEvent(event))).toBe(text)
    }
  })

  test('a stream that ends inside an event, or inside a line, is not whole', async () => {
    for (const end of [
      'data: b\n',
      'data: b',
      'id: 1\n',
      'x',
      ': comm',
      '\ufeff',
      'data: \u00e9\n',
    ]) {
      await expect(collect(`data: a\n\n${end}`), end).rejects.toThrow(/ended inside an event/)
    }
    const cut = utf8('data: \u00e9').subarray(0, -1)
    const read = async () => {
      for await (const _ of parseEvents(inChunks(cut, [1])));
    }
    await expect(read()).rejects.toThrow(/ended inside an event/)
    for (const end of ['', '\n', ': comment\n', 'unknown: 1\n', '\r\n\r\n']) {
      expect(await collect(`data: a\n\n${end}`), end).toHaveLength(1)
    }
  })

  test('an event of too many lines breaks the stream, however short they are', async () => {
    const lines = (count: number) => `${'a\n'.repeat(count)}\ndata: 1\n\n`
    expect(await collect(lines(eventLinesMax))).toHaveLength(1)
    await expect(collect(lines(eventLinesMax + 1))).rejects.toThrow('stream.eventLines, 16384')
    await expect(collect('a\r\n'.repeat(eventLinesMax + 1), [7])).rejects.toThrow(
      'stream.eventLines, 16384',
    )
  })

  test('the fabric writes an event with no more lines than an event may have', async () => {
    const refused = 'stream.eventLines, 16384'
    for (const end of ['\v', '\f', '\x1c', '\x1d', '\x1e', '\x85', '\u2028', '\u2029']) {
      const text = (count: number) => `data: ${end.repeat(count)}\n\n`
      const [event = missing] = await collect(text(eventLinesMax - 1))
      expect(linesOf(formatEvent(event))).toBe(eventLinesMax)
      await expect(collect(text(eventLinesMax))).rejects.toThrow(refused)
      await expect(collect(`data: ["${end.repeat(eventLinesMax)}"]\n\n`)).rejects.toThrow(refused)
      const both = `data: ${end}\n`.repeat(eventLinesMax / 2)
      expect(await collect(`${both}\n${both}\n`)).toHaveLength(2)
      await expect(collect(`data: 1\n\n${both}data: x\n\n`)).rejects.toThrow(refused)
    }
  })

  test('a name or an id of an event has a length', async () => {
    for (const field of ['event', 'id']) {
      const event = (length: number) => `${field}: ${'x'.repeat(length)}\ndata: 1\n\n`
      expect(await collect(event(fieldLengthMax))).toHaveLength(1)
      await expect(collect(event(fieldLengthMax + 1))).rejects.toThrow('stream.fieldLength, 8192')
    }
  })

  test('an event under construction is on the account as what it occupies', async () => {
    const opened = open()
    const before = opened.budget.totalBytes
    let most = 0
    async function* chunks() {
      for (let i = 0; i < 500; i++) {
        yield await Promise.resolve(utf8('data: 0123456789\n'))
        most = Math.max(most, opened.budget.totalBytes - before)
      }
      yield utf8('\n')
    }
    const reader = parseEvents(chunks(), opened)
    expect((await reader.next()).done).toBe(false)
    expect(most).toBeGreaterThan(8_000)
    expect(most).toBeLessThan(20_000)
    expect(opened.budget.totalBytes - before).toBeGreaterThan(5_000)
    expect((await reader.next()).done).toBe(true)
    expect(opened.budget.totalBytes).toBe(before)
    opened.share.close()
    expect(opened.budget.totalBytes).toBe(0)
  })

  test('of a chunk that waits for a slow reader, nothing more is kept than waits', async () => {
    const chunk = utf8(`${': filler\n\n'.repeat(6000)}data: 1\n\ndata: 2\n\n`)
    const reader = parseEvents(inChunks(chunk, [chunk.length]))
    const views = vi.spyOn(Uint8Array.prototype, 'slice')
    try {
      await reader.next()
      expect(views.mock.results.map(({ value }) => (value as Uint8Array).length)).toEqual([9])
    } finally {
      views.mockRestore()
    }
  })

  test('ten thousand tiny events do not keep the event loop from its other work', async () => {
    const reader = parseEvents(inChunks(utf8('data:1\n\n'.repeat(20_000)), [65_536]))
    let turns = 0
    let isOver = false
    const count = (): void => {
      turns += 1
      if (!isOver) setImmediate(count)
    }
    setImmediate(count)
    let events = 0
    for await (const _ of reader) events += 1
    isOver = true
    expect(events).toBe(20_000)
    expect(turns).toBeGreaterThan(3)
  })

  test('comments never pass, since they are not inspected', async () => {
    const [event] = await collect(': 4111111111111111\ndata: a\n\n')
    expect(parseUtf8(formatEvent(event ?? missing))).toBe('data: a\n\n')
  })

  test('data that looks like JSON is inspected as JSON', async () => {
    const [json, text] = await collect('data:  {"a":1}\n\ndata: hello\n\n')
    expect([json?.contentType, text?.contentType]).toEqual(['application/json', 'text/plain'])
  })

  test('an event above the limit breaks the stream instead of passing in parts', async () => {
    const endless = `data: ${'x'.repeat(eventBytesMax + 1)}`
    await expect(collect(endless, [65_536])).rejects.toThrow('stream.eventBytes, 1 MiB')
  })

  test('an event in single bytes is moved a few times, not once for each byte that follows', async () => {
    const set = vi.spyOn(Uint8Array.prototype, 'set')
    const sent = 64 * 1024
    try {
      expect(await collect(`data: ${'x'.repeat(sent)}\r\n\r\n`, [1])).toHaveLength(1)
      const moved = set.mock.calls.reduce((sum, [bytes]) => sum + bytes.length, 0)
      expect(moved).toBeLessThan(4 * sent)
    } finally {
      set.mockRestore()
    }
  })

  test('bytes that are not UTF-8 break the stream', async () => {
    const bytes = Uint8Array.of(0x64, 0x3a, 0xff, 0x0a, 0x0a)
    const read = async () => {
      for await (const _ of parseEvents(inChunks(bytes, [2])));
    }
    await expect(read()).rejects.toThrow()
  })
})

/** Of one event, without the blank line at its end. */
const linesOf = (event: Uint8Array) => parseUtf8(event).split('\n').length - 2

const missing: StreamEvent = { data: new Uint8Array(0), contentType: 'text/plain', frame: [] }

test('an event whose line breaks inspection has put in order is not searched for them again', () => {
  const data = utf8('a\u2028b')
  const event = { data, contentType: 'text/plain', frame: [] } as const
  expect(parseUtf8(formatEvent(event))).toBe('data: a\ndata: b\n\n')
  expect(parseUtf8(formatEvent({ ...event, hasPlainBreaks: true }))).toBe('data: a\u2028b\n\n')
})
