import { utf8 } from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EventParser } from './events.ts'

function eventsOf(text: string, cuts: readonly number[] = []) {
  const bytes = utf8(text)
  const parser = new EventParser(1000)
  const edges = [
    0,
    ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b),
    bytes.length,
  ]
  return edges
    .slice(1)
    .flatMap((end, at) => parser.read(bytes.subarray(edges[at], end)))
    .flatMap(({ event }) => (event === null ? [] : [event]))
}

describe('the event parser', () => {
  test('reads fields, comments, several data lines and all three line endings', () => {
    const text =
      '\ufeffid: 7\r\nevent: tick\rdata: a\ndata:b\n:comment\n\ndata\n\nretry: 5\n\ndata: cut'
    expect(eventsOf(text)).toEqual([
      { event: 'tick', data: 'a\nb', id: '7' },
      { event: 'message', data: '', id: '7' },
    ])
  })

  test('gives the same events wherever the bytes are cut', () => {
    const text = 'data: ä€😀\r\n\r\nevent: x\rdata: 1\rdata: 2\r\rdata: end\n\n'
    const whole = eventsOf(text)
    expect(whole).toHaveLength(3)
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 8 }), (cuts) => {
        expect(eventsOf(text, cuts)).toEqual(whole)
      }),
    )
  })

  test('does not hold more than its limit, whether in one line or in many', () => {
    expect(() => eventsOf(`data: ${'x'.repeat(1001)}`)).toThrow('ANSWER_TOO_LARGE')
    expect(() => eventsOf('data\n'.repeat(300))).toThrow('ANSWER_TOO_LARGE')
    expect(eventsOf(`data: ${'x'.repeat(900)}\n\n`.repeat(5))).toHaveLength(5)
  })

  test('holds the smallest pieces as one, and bounds lines that cost more than their bytes', () => {
    const parser = new EventParser(100_000)
    const bytes = utf8(`data: ${'x'.repeat(50_000)}\n`)
    for (let at = 0; at < bytes.length; at++) parser.read(bytes.subarray(at, at + 1))
    expect(parser.read(utf8('\n'))[0]?.data).toHaveLength(50_000)
    expect(
      new EventParser(100_000).read(utf8(`${'a\n'.repeat(16_384)}data\n\n`.slice(2))),
    ).toHaveLength(1)
    expect(() => new EventParser(100_000).read(utf8('a\n'.repeat(16_385)))).toThrow(
      'ANSWER_TOO_LARGE',
    )
  })

  test('distinguishes a stream that ended inside an event from one that is whole', () => {
    const ended = (text: string) => () => {
      const parser = new EventParser(1000)
      parser.read(utf8(text))
      parser.end()
    }
    for (const text of ['data: 1', 'data: 1\n', 'data: 1\n\nid: 2\n', ': cut']) {
      expect(ended(text), text).toThrow('BODY_UNFINISHED')
    }
    for (const text of ['', 'data: 1\n\n', 'data: 1\n\n: over\n', '\r\n\r\n']) {
      expect(ended(text), text).not.toThrow()
    }
  })

  test('refuses bytes that are not UTF-8', () => {
    const bad = Uint8Array.of(...utf8('data: '), 0xff, 0x0a, 0x0a)
    expect(() => new EventParser(100).read(bad)).toThrow('ANSWER_MALFORMED')
  })
})
