import { formatTileNumber, levelWidth } from '@countersign/protocol'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { LedgerDamage } from './store.ts'
import {
  encodeBundle,
  encodeDetails,
  findDetail,
  parseBundle,
  parseDetails,
  parseTilePath,
  tilePath,
} from './tiles.ts'

const blobs = fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 20 })

test('tile numbers are written in groups of three digits (C2SP tlog-tiles)', () => {
  expect(formatTileNumber(1_234_067)).toBe('x001/x234/067')
  expect(formatTileNumber(7)).toBe('007')
  expect(formatTileNumber(1000)).toBe('x001/000')
  expect(tilePath(3, 12, 5)).toBe('tile/3/012.p/5')
  expect(tilePath('entries', 0)).toBe('tile/entries/000')
})

test('a path names one tile, and no tile has two paths', () => {
  fc.assert(
    fc.property(
      fc.nat(5),
      fc.nat(2 ** 31),
      fc.integer({ min: 1, max: 256 }),
      (kind, tile, width) => {
        expect(parseTilePath(tilePath(kind, tile, width))).toEqual({ kind, tile, width })
      },
    ),
  )
  const malformed = [
    'tile/0/7',
    'tile/00/007',
    'tile/0/x000/007',
    'tile/0/007.p/0',
    'tile/0/007.p/256',
    'tile/0/007.p/05',
    'tile/0/../0/007',
    'tile/-1/007',
    'tile/entries/x01/007',
    'detail/000',
    'tile/0/007/',
  ]
  for (const path of malformed) expect(parseTilePath(path), path).toBeNull()
})

test('a size of 256 has one full tile and, above it, one hash', () => {
  expect([levelWidth(0, 256), levelWidth(1, 256), levelWidth(2, 256)]).toEqual([256, 1, 0])
})

test('a bundle gives back its entries, and not one byte may be added or missing', () => {
  fc.assert(
    fc.property(blobs, (entries) => {
      const bytes = encodeBundle(entries)
      expect(parseBundle(bytes, entries.length).map((e) => [...e])).toEqual(
        entries.map((e) => [...e]),
      )
      const more = Buffer.concat([bytes, Buffer.from([0])])
      for (const wrong of [more, bytes.subarray(0, -1)]) {
        expect(() => parseBundle(wrong, entries.length)).toThrow(LedgerDamage)
      }
      const empty = Buffer.concat([bytes, Buffer.from([0, 0])])
      expect(() => parseBundle(empty, entries.length)).toThrow(LedgerDamage)
    }),
  )
})

test('a detail is found alone or with all others', () => {
  fc.assert(
    fc.property(blobs, fc.nat(), (details, pick) => {
      const bytes = encodeDetails(details)
      const all = parseDetails(bytes, details.length)
      expect(all.map((d) => [...d])).toEqual(details.map((d) => [...d]))
      const at = pick % details.length
      const { start, length } = findDetail(
        bytes.subarray(0, details.length * 4),
        at,
        details.length,
      )
      expect([...bytes.subarray(start, start + length)]).toEqual([...(details[at] ?? [])])
      const more = Buffer.concat([bytes, Buffer.from([0])])
      expect(() => parseDetails(more, details.length)).toThrow(LedgerDamage)
    }),
  )
})
