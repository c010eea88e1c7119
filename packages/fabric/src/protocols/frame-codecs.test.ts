import { concat, parseUtf8, utf8 } from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Refusal } from '../lib/refusal.ts'
import type { Frame, FrameCodec } from '../pipeline/frames.ts'
import { blocks, codecOf, grpcMessages, lines } from './frame-codecs.ts'

/** Cuts `bytes`, which arrive in pieces of these sizes, over and over. */
function cut(codec: FrameCodec, bytes: Uint8Array, sizes: readonly number[], max = 1_024) {
  const cutter = codec.open(max)
  const frames: Frame[] = []
  const take = (frame: Frame | null | Refusal): Refusal | boolean => {
    if (frame === null || frame instanceof Refusal) return frame ?? false
    frames.push(frame)
    return true
  }
  for (let [at, turn] = [0, 0]; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1
    cutter.feed(bytes.slice(at, at + size))
    at += size
    for (;;) {
      const taken = take(cutter.take())
      if (taken instanceof Refusal) return taken
      if (!taken) break
    }
  }
  const last = take(cutter.end())
  return last instanceof Refusal ? last : frames
}

const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 })

describe('frames', () => {
  test.each([
    ['lines', lines, fc.json().map((text) => utf8(text.replaceAll('\r', '')))],
    ['messages of gRPC', grpcMessages, fc.uint8Array({ maxLength: 200 })],
  ] as const)('of %s are the same however their bytes arrive', (_, codec, frame) => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), sizes, (frames, pieces) => {
        const given = frames.filter(({ length }) => length <= 1_024)
        const bytes = concat(...given.map((data) => codec.format({ data })))
        const read = cut(codec, bytes, pieces)
        expect(read).not.toBeInstanceOf(Refusal)
        const data = read instanceof Refusal ? [] : read.map((one) => [...one.data])
        expect(data).toEqual(given.map((one) => [...one]))
      }),
      { numRuns: 200 },
    )
  })

  test('of bytes without a form are blocks of one size, and a last one', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), sizes, (bytes, pieces) => {
        const read = cut(blocks, bytes, pieces, 64)
        const parts = read instanceof Refusal ? [] : read.map(({ data }) => data)
        expect([...concat(...parts)]).toEqual([...bytes])
        expect(parts.slice(0, -1).every(({ length }) => length === 64)).toBe(true)
      }),
      { numRuns: 200 },
    )
  })

  test('a line is without its end, a blank one is not a frame, and a last one needs no end', () => {
    const read = cut(lines, utf8('{"a":1}\r\n\n \t\n{"b":2}'), [3])
    const texts = read instanceof Refusal ? [] : read.map(({ data }) => parseUtf8(data))
    expect(texts).toEqual(['{"a":1}', '{"b":2}'])
  })

  test.each([
    ['a carriage return within a line', lines, utf8('{"a":\r1}\n'), 'MESSAGE_MALFORMED'],
    ['a line above the limit', lines, utf8('x'.repeat(2_000)), 'MESSAGE_TOO_LARGE'],
    ['an unknown flag', grpcMessages, Uint8Array.of(2, 0, 0, 0, 0), 'MESSAGE_MALFORMED'],
    ['half a message', grpcMessages, Uint8Array.of(0, 0, 0, 0, 9, 1), 'MESSAGE_MALFORMED'],
    ['half a prefix', grpcMessages, Uint8Array.of(0, 0), 'MESSAGE_MALFORMED'],
    [
      'a message above the limit',
      grpcMessages,
      Uint8Array.of(0, 255, 255, 255, 255),
      'MESSAGE_TOO_LARGE',
    ],
  ])('%s is refused', (_, codec, bytes, code) => {
    expect(cut(codec, bytes, [1])).toMatchObject({ code })
  })

  test.each([
    ['blocks', blocks, utf8('x'.repeat(300)), 64],
    ['lines', lines, utf8(`{"a":"${'x'.repeat(500)}"}\n`), 1_024],
    ['messages of gRPC', grpcMessages, grpcMessages.format({ data: new Uint8Array(500) }), 1_024],
  ])('a piece of %s is gone once it was copied', (_, codec, bytes, max) => {
    const pieces = Array.from({ length: 10 }, (_, at) => bytes.slice(at * 30, at * 30 + 30))
    const cutter = codec.open(max)
    for (const piece of pieces) {
      cutter.feed(piece)
      while (cutter.take() !== null);
    }
    expect(pieces.slice(1, -1).map(({ length }) => length)).toEqual(Array(8).fill(0))
  })

  test.each([
    ['lines', lines, utf8('{"a":"xxxxxxxxxxxxxxxxxxxxxxxx"}\n'), utf8('{}\n')],
    [
      ...['messages of gRPC', grpcMessages],
      ...[grpcMessages.format({ data: new Uint8Array(500).fill(7) }), new Uint8Array(5)],
    ],
  ] as const)('a frame of %s that is in the memory of its piece stays', (_, codec, bytes, next) => {
    const cutter = codec.open(1_024)
    cutter.feed(bytes)
    const frame = cutter.take() as Frame
    const before = [...frame.data]
    for (let at = 0; at < 3; at++) {
      cutter.feed(next.slice())
      cutter.take()
    }
    expect([...frame.data]).toEqual(before)
  })

  test('a line break within a line never leaves as one', () => {
    expect(() => lines.format({ data: utf8('{}\n{}') })).toThrow('line break')
  })
})

test('the content type alone names the codec', () => {
  expect(codecOf('application/grpc+proto')?.name).toBe('grpc')
  expect(codecOf('application/x-ndjson; charset=utf-8')?.name).toBe('ndjson')
  expect(codecOf('application/octet-stream')?.name).toBe('blocks')
  for (const type of ['application/json', 'application/grpc-web', '', undefined]) {
    expect(codecOf(type)).toBeNull()
  }
})
