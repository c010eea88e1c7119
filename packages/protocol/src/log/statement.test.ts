import { encode, rfc8949EncodeOptions } from 'cborg'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { toHex } from '../encoding/bytes.ts'
import { type CborValue, decodeCbor, encodeCbor } from '../encoding/cbor.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import {
  type EntryPayload,
  encodeEntryPayload,
  encodeFact,
  type FactValue,
  factsMax,
  noPreviousLeaf,
  parseEntryPayload,
  STATEMENT_KINDS,
} from './statement.ts'

const hash = fc.uint8Array({ minLength: 32, maxLength: 32 })
const name = fc.stringMatching(/^[a-z][a-z0-9.-]{0,63}$/)
const payloads: fc.Arbitrary<EntryPayload> = fc.record({
  exchange: fc.stringMatching(/^exc_a_[0-9a-f]{32}$/),
  kind: fc.constantFrom(...STATEMENT_KINDS),
  at: fc.maxSafeNat(),
  n: fc.maxSafeNat(),
  prev: hash,
  facts: fc
    .uniqueArray(fc.tuple(name, hash), { selector: ([fact]) => fact, maxLength: 20 })
    .map((facts) => new Map(facts)),
  nonce: hash,
})

const example: EntryPayload = {
  exchange: 'exc_a_0197b0d2c0007000800000000000000a',
  kind: 'intent',
  at: 1_760_000_000_000,
  n: 7,
  prev: noPreviousLeaf,
  facts: new Map([['caller', new Uint8Array(32).fill(1)]]),
  nonce: new Uint8Array(32).fill(2),
}

describe('the payload of an entry', () => {
  test('parses to what was encoded, in the bytes of an independent encoder', () => {
    fc.assert(
      fc.property(payloads, (payload) => {
        const bytes = encodeEntryPayload(payload)
        const { exchange: id, kind, at: ts, n, prev, facts, nonce } = payload
        const members = { v: 1, id, kind, ts, n, prev, facts, nonce }
        expect(toHex(bytes)).toBe(toHex(encode(members, rfc8949EncodeOptions)))
        expect(parseEntryPayload(bytes)).toEqual(payload)
      }),
      { numRuns: 100 },
    )
  })

  test('is refused with a member missing, added, mistyped or out of bounds', () => {
    const map = decodeCbor(encodeEntryPayload(example)) as ReadonlyMap<string, CborValue>
    const facts = (count: number, length = 32) =>
      new Map(Array.from({ length: count }, (_, i) => [`f${i}`, new Uint8Array(length)] as const))
    const changed: readonly (readonly [string, CborValue])[] = [
      ['v', 2],
      ['id', ''],
      ['id', `exc_a_${'a'.repeat(200)}`],
      ['id', 'dec 1'],
      ['kind', 'other'],
      ['ts', -1],
      ['ts', 2n ** 60n],
      ['n', '7'],
      ['prev', null],
      ['prev', new Uint8Array(31)],
      ['nonce', new Uint8Array(16)],
      ['facts', []],
      ['facts', facts(factsMax + 1)],
      ['facts', facts(1, 33)],
      ['facts', new Map([['Caller', new Uint8Array(32)]])],
      ['facts', new Map([['__proto__', new Uint8Array(32)]])],
      ['facts', new Map([[1, new Uint8Array(32)]])],
      ['facts', new Map([['a'.repeat(65), new Uint8Array(32)]])],
      ['extra', 1],
    ]
    for (const [key, value] of changed) {
      const bytes = encodeCbor(new Map([...map, [key, value]]))
      expect(() => parseEntryPayload(bytes), key).toThrow(MalformedError)
    }
    for (const key of map.keys()) {
      const bytes = encodeCbor(new Map([...map].filter(([kept]) => kept !== key)))
      expect(() => parseEntryPayload(bytes), key).toThrow(MalformedError)
    }
    expect(
      parseEntryPayload(encodeCbor(new Map([...map, ['facts', facts(factsMax)]]))),
    ).toBeDefined()
  })

  test('is not written when it could not be read', () => {
    expect(() => encodeEntryPayload({ ...example, nonce: new Uint8Array(0) })).toThrow(TypeError)
    const unnamed = new Map([['', new Uint8Array(32)]])
    expect(() => encodeEntryPayload({ ...example, facts: unnamed })).toThrow(TypeError)
  })
})

describe('the facts that a commitment covers', () => {
  const value: fc.Arbitrary<FactValue> = fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.maxSafeInteger(),
    fc.boolean(),
    fc.uint8Array(),
  )

  test('is the pair of name and value, of one type', () => {
    fc.assert(
      fc.property(name, value, (fact, given) => {
        expect(decodeCbor(encodeFact(fact, given))).toEqual([fact, given])
      }),
    )
    const forms = ['1', 1, true, Uint8Array.of(1)].map((given) => toHex(encodeFact('a', given)))
    expect(new Set(forms).size).toBe(4)
  })

  test('has no encoding for a bad name or a fraction', () => {
    expect(() => encodeFact('A', 1)).toThrow(TypeError)
    expect(() => encodeFact('a', 0.5)).toThrow(TypeError)
  })
})
