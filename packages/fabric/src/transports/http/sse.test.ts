import { parseUtf8, utf8 } from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import type { StreamEvent } from '../../pipeline/delivery.ts'
import { eventBytesMax, formatEvent, parseEvents } from './sse.ts'

async function* inChunks(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0
  for (let turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1
    yield bytes.subarray(at, at + size)
    at += size
  }
}

async function collect(
  text: string,
  sizes: readonly number[] = [1_000_000],
): Promise<StreamEvent[]> {
  const events: StreamEvent[] = []
  for await (const event of parseEvents(inChunks(utf8(text), sizes))) events.push(event)
  return events
}

const line = fc.string({ unit: 'grapheme' }).filter((text) => !/[\r\n\ufeff]/.test(text))

describe('parseEvents', () => {
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
      fc.asyncProperty(fc.array(line, { minLength: 1 }), async (lines) => {
        const frame = [['event', 'x'] as const, ['id', '7'] as const]
        const event = { data: utf8(lines.join('\n')), contentType: 'text/plain', frame } as const
        const [parsed] = await collect(parseUtf8(formatEvent(event)))
        expect(parsed?.data).toEqual(event.data)
        expect(parsed?.frame).toEqual(frame)
      }),
    )
  })

  test('an unfinished last event is not an event', async () => {
    expect(await collect('data: a\n\ndata: b\n')).toHaveLength(1)
  })

  test('comments never pass, since nobody inspects them', async () => {
    const [event] = await collect(': 4111111111111111\ndata: a\n\n')
    expect(parseUtf8(formatEvent(event ?? missing))).toBe('data: a\n\n')
  })

  test('what looks like JSON is inspected as JSON', async () => {
    const [json, text] = await collect('data:  {"a":1}\n\ndata: hello\n\n')
    expect([json?.contentType, text?.contentType]).toEqual(['application/json', 'text/plain'])
  })

  test('an event above the limit breaks the stream instead of passing in parts', async () => {
    const endless = `data: ${'x'.repeat(eventBytesMax + 1)}`
    await expect(collect(endless, [65_536])).rejects.toThrow(/exceeds/)
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

const missing: StreamEvent = { data: new Uint8Array(0), contentType: 'text/plain', frame: [] }
