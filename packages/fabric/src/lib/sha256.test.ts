import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { sha256, sha256OfParts } from './sha256.ts'

test('the digest of any bytes is the one that a Hash object gives', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const expected = new Uint8Array(createHash('sha256').update(bytes).digest())
      expect(new Uint8Array(sha256(bytes))).toEqual(expected)
    }),
  )
})

test('the digest of parts is that of their concatenation', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 4 }), (parts) => {
      expect(sha256OfParts(...parts)).toEqual(sha256(Buffer.concat(parts)))
    }),
  )
})

test('a digest keeps its bytes when others are made after it', () => {
  const digests = Array.from({ length: 500 }, (_, i) => sha256(Uint8Array.of(i & 0xff)))
  expect(digests[0]).toEqual(sha256(Uint8Array.of(0)))
  expect(new Set(digests.map(String)).size).toBe(256)
})
