import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseUtf8, utf8 } from '../encoding/bytes.ts'
import { EventBlocks, visitEventFields } from './event-stream.ts'

const open = (bytesMax = 1000) =>
  new EventBlocks({ bytesMax, tooLarge: (what) => new Error(`too many ${what}`) })

/** The blocks of a text that arrives in pieces of these sizes, and what is left at its end. */
function read(text: string, sizes: readonly number[] = [1000], blocks = open()) {
  const bytes = utf8(text)
  const read: string[] = []
  let at = 0
  for (let turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1
    blocks.feed(bytes.slice(at, at + size))
    at += size
    for (let block = blocks.next(); block !== null; block = blocks.next()) {
      read.push(parseUtf8(block))
    }
  }
  const end = blocks.end()
  return { blocks: read, end: end === null || end === 'cut' ? end : parseUtf8(end) }
}

describe('the blocks of an event stream', () => {
  test('end at a blank line, whatever ends a line', () => {
    const { blocks, end } = read('a\n\nb\r\nc\r\n\r\nd\r\re\n\r\n\n\nf\n\r')
    expect(blocks).toEqual(['a\n', 'b\r\nc\r\n', 'd\r', 'e\n', 'f\n'])
    expect(end).toBeNull()
  })

  test('are the same wherever the bytes are cut', () => {
    const text = fc.string({ unit: fc.constantFrom('\r', '\n', ':', 'ä', '😀', '\ufeff', ' ') })
    const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(text, sizes, (whole, cuts) => {
        expect(read(whole, cuts)).toEqual(read(whole))
      }),
    )
  })

  test('are found when everything but them is blank lines', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('\n', '\r', '\r\n')), (breaks) => {
        expect(read(breaks.join(''))).toEqual({ blocks: [], end: null })
      }),
    )
  })

  test('begin behind one byte order mark, which stands at the start of the stream only', () => {
    expect(read('\ufeffa\n\n\ufeffb\n\n', [1]).blocks).toEqual(['a\n', '\ufeffb\n'])
    expect(read('\ufeff\ufeffa\n\n').blocks).toEqual(['\ufeffa\n'])
    for (const blank of ['\n', '\r', '\r\n', '\n\n']) {
      expect(read(`${blank}\ufeffa\n\n`).blocks).toEqual(['\ufeffa\n'])
      expect(read(`${blank}\ufeffa\n\n`, [1]).blocks).toEqual(['\ufeffa\n'])
    }
  })

  test('a stream that ends inside a line is told from one whose last line is whole', () => {
    expect(read('a\n\nb').end).toBe('cut')
    expect(read('\ufeff').end).toBe('cut')
    expect(read('a\n\nb\nc\n').end).toBe('b\nc\n')
    expect(read('a\n\n').end).toBeNull()
    expect(read('').end).toBeNull()
  })

  test('hold no more than their limit of bytes, however they are cut', () => {
    const fits = `${'x'.repeat(999)}\n\n`
    for (const cuts of [[10_000], [1], [600]]) {
      expect(read(fits.repeat(3), cuts).blocks).toHaveLength(3)
      expect(() => read(`x${fits}`, cuts)).toThrow('too many bytes')
      expect(() => read('x'.repeat(1001), cuts)).toThrow('too many bytes')
    }
  })

  test('hold no more than their limit of lines, comments included', () => {
    const blocks = open(100_000)
    const most = ':\n'.repeat(EventBlocks.linesMax)
    expect(read(`${most}\na\n\n`, [999], blocks).blocks).toHaveLength(2)
    expect(blocks.blockLines).toBe(1)
    expect(() => read(`${most}:\n`, [999], open(100_000))).toThrow('too many lines')
  })

  test('what is left of a chunk does not keep the chunk, and what is dropped is gone', () => {
    const blocks = open(100_000)
    blocks.feed(utf8(`a\n\n${'b'.repeat(40)}`))
    expect(blocks.next()).toEqual(utf8('a\n'))
    blocks.compact()
    expect(blocks.next()).toBeNull()
    expect(blocks.heldBytes).toBe(40)
    blocks.drop()
    expect(blocks.heldBytes).toBe(0)
    expect(blocks.end()).toBeNull()
  })
})

describe('the fields of a block', () => {
  const fieldsOf = (block: string) => {
    const fields: string[] = []
    visitEventFields(block, (field, value) => fields.push(`${field}=${value}`))
    return fields
  }

  test('are read in order, without one leading space, and without comments', () => {
    expect(fieldsOf('id: 7\r\nevent:tick\rdata:  a\n: comment\ndata\nretry: 5\n')).toEqual([
      'id=7',
      'event=tick',
      'data= a',
      'data=',
      'retry=5',
    ])
  })

  test('of other names or spellings are ignored', () => {
    expect(fieldsOf('Data: a\ndata : b\n data: c\nx: d\n:\n\n')).toEqual([])
    expect(fieldsOf('data: a:b\u2028c')).toEqual(['data=a:b\u2028c'])
  })
})
