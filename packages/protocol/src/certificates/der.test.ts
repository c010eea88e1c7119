import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  der,
  derBitString,
  derObjectId,
  derSequence,
  derTimeOf,
  derUnsigned,
} from '../../../fabric/src/adapters/x509/der-writer.ts'
import {
  DER,
  DerError,
  derBits,
  derIntegerBytes,
  derMembers,
  derOid,
  derSmallInteger,
  derTime,
  readDer,
} from './der.ts'

describe('the DER reader', () => {
  test('reads back what was written', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }), (contents) => {
        const written = derSequence(...contents.map((content) => der(DER.octetString, content)))
        const members = derMembers(readDer(written, DER.sequence))
        expect(members.map(({ content }) => content)).toEqual(contents)
        expect(members.map(({ tag }) => tag)).toEqual(contents.map(() => DER.octetString))
      }),
    )
  })

  test('accepts one encoding of an element only: re-encoding gives the same bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (bytes) => {
        let element: ReturnType<typeof readDer>
        try {
          element = readDer(bytes, bytes[0] ?? 0)
        } catch (error) {
          expect(error).toBeInstanceOf(DerError)
          return
        }
        expect(der(element.tag, element.content)).toEqual(bytes)
      }),
      { numRuns: 2_000 },
    )
  })

  test('reads back integers, object identifiers, bits and times', () => {
    const arc = fc.integer({ min: 0, max: 2 ** 40 })
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 31 - 1 }),
        fc.tuple(fc.constantFrom(0, 1, 2), fc.integer({ min: 0, max: 39 }), arc, arc),
        fc.date({ min: new Date('1951-01-01'), max: new Date('2400-01-01'), noInvalidDate: true }),
        (integer, arcs, date) => {
          const bytes = Buffer.alloc(4)
          bytes.writeUInt32BE(integer)
          const at = Math.floor(date.getTime() / 1000) * 1000
          const read = (written: Uint8Array) => readDer(written, written[0] ?? 0)
          expect(derSmallInteger(read(derUnsigned(bytes)))).toBe(integer)
          expect(derOid(read(derObjectId(arcs.join('.'))))).toBe(arcs.join('.'))
          expect(derTime(read(derTimeOf(at)))).toBe(at)
          expect(derBits(read(derBitString(bytes))).bytes).toEqual(new Uint8Array(bytes))
        },
      ),
    )
  })

  test.each([
    ['an indefinite length', [0x30, 0x80, 0x00, 0x00]],
    ['a long length for a short content', [0x04, 0x81, 0x01, 0xff]],
    ['a length with a leading zero', [0x04, 0x82, 0x00, 0x81, ...Array<number>(0x81).fill(0)]],
    ['bytes after the element', [0x04, 0x01, 0xff, 0x00]],
    ['an element that is cut short', [0x04, 0x02, 0xff]],
    ['a long tag', [0x1f, 0x81, 0x01, 0x00]],
    ['nothing at all', []],
  ])('refuses %s', (_, bytes) => {
    expect(() => readDer(Uint8Array.from(bytes), bytes[0] ?? 0)).toThrow(DerError)
  })

  test.each([
    ['a padded integer', () => derIntegerBytes(element([0x02, 0x02, 0x00, 0x7f]))],
    ['a padded negative integer', () => derIntegerBytes(element([0x02, 0x02, 0xff, 0x80]))],
    ['an empty integer', () => derIntegerBytes(element([0x02, 0x00]))],
    ['a padded object identifier', () => derOid(element([0x06, 0x03, 0x55, 0x80, 0x01]))],
    ['an unfinished object identifier', () => derOid(element([0x06, 0x02, 0x55, 0x81]))],
    ['set unused bits', () => derBits(element([0x03, 0x02, 0x07, 0x81]))],
    ['eight unused bits', () => derBits(element([0x03, 0x02, 0x08, 0x00]))],
    ['a day that does not exist', () => derTime(text(0x17, '250231000000Z'))],
    ['a time without seconds', () => derTime(text(0x17, '2502280000Z'))],
    ['a time with an offset', () => derTime(text(0x17, '250228000000+0100'))],
    ['a time with a fraction', () => derTime(text(0x18, '20250228000000.5Z'))],
  ])('refuses %s', (_, read) => {
    expect(read).toThrow(DerError)
  })
})

function element(bytes: readonly number[]) {
  return readDer(Uint8Array.from(bytes), bytes[0] ?? 0)
}

function text(tag: number, content: string) {
  return readDer(der(tag, new TextEncoder().encode(content)), tag)
}
