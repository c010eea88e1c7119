import { decode, encode, rfc8949EncodeOptions } from 'cborg'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import vectors from '../../vectors/cbor.json' with { type: 'json' }
import { toHex } from './bytes.ts'
import { CborTag, type CborValue, decodeCbor, encodeCbor } from './cbor.ts'
import { MalformedError } from './malformed-error.ts'

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
}

const key = fc.oneof(fc.maxSafeInteger(), fc.string({ unit: 'grapheme', maxLength: 30 }))
const wide = fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n - 1n }).filter(isWide)
const { value: anyValue } = fc.letrec<{ value: CborValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.maxSafeInteger(),
    wide,
    fc.boolean(),
    fc.constant(null),
    fc.string({ unit: 'grapheme', maxLength: 300 }),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie('value'), { maxLength: 30 }),
    fc.uniqueArray(fc.tuple(key, tie('value')), { selector: ([k]) => k }).map((m) => new Map(m)),
  ),
}))

function isWide(value: bigint): boolean {
  return value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)
}

describe('deterministic CBOR', () => {
  test('writes the bytes that another implementation writes, and reads them back', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        const bytes = encodeCbor(value)
        expect(toHex(bytes)).toBe(toHex(encode(value, rfc8949EncodeOptions)))
        expect(decodeCbor(bytes)).toEqual(value)
      }),
      { numRuns: 300 },
    )
  })

  test('agrees with a strict decoder on every mutation: refused, or the same value', () => {
    const mutation = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }))
    fc.assert(
      fc.property(anyValue, mutation, (value, [position, byte]) => {
        const bytes = encodeCbor(value)
        bytes[position % bytes.length] = byte
        let ours: CborValue
        try {
          ours = decodeCbor(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedError)
          return
        }
        // Accepted input has one encoding, so the bytes come back as they were.
        expect(toHex(encodeCbor(ours))).toBe(toHex(bytes))
        if (!hasTag(ours)) {
          const strict = { useMaps: true, strict: true, rejectDuplicateMapKeys: true }
          expect(decode(bytes, strict)).toEqual(ours)
        }
      }),
      { numRuns: 500 },
    )
  })

  test.each(vectors.accepted)('writes and reads $hex', ({ hex }) => {
    expect(toHex(encodeCbor(decodeCbor(fromHex(hex))))).toBe(hex)
  })

  test.each(vectors.refused)('refuses $why', ({ hex }) => {
    expect(() => decodeCbor(fromHex(hex))).toThrow(MalformedError)
  })

  test('refuses what nests too deep or is too large', () => {
    const nested = (depth: number) => fromHex(`${'81'.repeat(depth)}00`)
    expect(decodeCbor(nested(16))).toBeDefined()
    expect(() => decodeCbor(nested(17))).toThrow(MalformedError)
    expect(() => decodeCbor(nested(100_000))).toThrow(MalformedError)
    expect(() => decodeCbor(encodeCbor('abc'), { bytesMax: 3 })).toThrow(MalformedError)
  })

  test('does not write what it could not read back', () => {
    for (const value of [1.5, Number.NaN, 2 ** 53, 2n ** 64n, '\ud800', undefined]) {
      expect(() => encodeCbor(value as CborValue)).toThrow(TypeError)
    }
    expect(() => encodeCbor(new CborTag(-1, null))).toThrow(TypeError)
  })
})

function hasTag(value: CborValue): boolean {
  if (value instanceof CborTag) return true
  if (value instanceof Map) return [...value.values()].some(hasTag)
  return Array.isArray(value) && value.some(hasTag)
}
