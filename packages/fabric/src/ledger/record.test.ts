import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodeRecord, parseRecord } from './record.ts'
import { LedgerDamage } from './store.ts'

const blob = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes))
const record = fc.record({
  entries: fc.array(fc.record({ leaf: blob, detail: blob }), { maxLength: 10 }),
  head: fc.record({ at: fc.nat(), checkpoint: fc.string({ unit: 'grapheme' }) }),
})

test('a record gives back its entries and its head', () => {
  fc.assert(
    fc.property(record, (given) => {
      expect(parseRecord(Buffer.concat(encodeRecord(given)))).toEqual(given)
    }),
  )
})

test('a record of another length is damage', () => {
  fc.assert(
    fc.property(record, fc.nat(), (given, cut) => {
      const bytes = Buffer.concat(encodeRecord(given))
      const shorter = bytes.subarray(0, cut % bytes.length)
      expect(() => parseRecord(shorter)).toThrow(LedgerDamage)
      expect(() => parseRecord(Buffer.concat([bytes, Buffer.from([0])]))).toThrow(LedgerDamage)
    }),
  )
})
