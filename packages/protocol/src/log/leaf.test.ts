import { createHash } from 'node:crypto'
import { encode, rfc8949EncodeOptions } from 'cborg'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import vector from '../../vectors/leaf.json' with { type: 'json' }
import { concat, toHex } from '../encoding/bytes.ts'
import { type CborValue, decodeCbor, encodeCbor } from '../encoding/cbor.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import {
  commitmentInput,
  ENTRY_KINDS,
  encodeFact,
  encodeLeaf,
  type FactValue,
  factsMax,
  type Leaf,
  leafBytesMax,
  parseLeaf,
  saltBytes,
} from './leaf.ts'
import { hashLeafWith } from './merkle.ts'

const hash = fc.uint8Array({ minLength: 32, maxLength: 32 })
const name = fc.stringMatching(/^[a-z][a-z0-9.-]{0,63}$/)
const facts = fc
  .uniqueArray(fc.tuple(name, hash), { selector: ([fact]) => fact, minLength: 1, maxLength: 20 })
  .map((pairs) => new Map(pairs))
const leaves: fc.Arbitrary<Leaf> = fc.record({
  exchange: fc.stringMatching(/^exc_a_[0-9a-f]{32}$/),
  kind: fc.constantFrom(...ENTRY_KINDS),
  at: fc.maxSafeNat(),
  facts,
})

const example: Leaf = {
  exchange: 'exc_a_0197b0d2c0007000800000000000000a',
  kind: 'intent',
  at: 1_760_000_000_000,
  facts: new Map([
    ['receiver', new Uint8Array(32).fill(1)],
    ['caller', new Uint8Array(32).fill(2)],
  ]),
}

/** The leaf of `bytes`, or null where the parser refuses them. */
function parsed(bytes: Uint8Array): Leaf | null {
  try {
    return parseLeaf(bytes)
  } catch (error) {
    expect(error).toBeInstanceOf(MalformedError)
    return null
  }
}

describe('a leaf', () => {
  test('parses to what was encoded, in the bytes of an independent encoder', () => {
    fc.assert(
      fc.property(leaves, (leaf) => {
        const bytes = encodeLeaf(leaf)
        const { exchange, kind, at } = leaf
        const items = [2, exchange, kind, at, leaf.facts]
        expect(toHex(bytes)).toBe(toHex(encode(items, rfc8949EncodeOptions)))
        expect(parseLeaf(bytes)).toEqual(leaf)
      }),
      { numRuns: 100 },
    )
  })

  test('with any bit flipped is refused or is another leaf, in its own one encoding', () => {
    const bytes = encodeLeaf(example)
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = bytes.with(bit >> 3, (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7)))
      const leaf = parsed(flipped)
      if (leaf === null) continue
      expect(leaf, `bit ${bit}`).not.toEqual(example)
      expect(toHex(encodeLeaf(leaf))).toBe(toHex(flipped))
    }
  })

  test('has one encoding: bytes that parse are those that are written of what they hold', () => {
    const edits = fc.array(
      fc.record({ at: fc.nat(), remove: fc.nat(3), insert: fc.uint8Array({ maxLength: 3 }) }),
      { minLength: 1, maxLength: 3 },
    )
    fc.assert(
      fc.property(leaves, edits, (leaf, changes) => {
        let bytes: Uint8Array = encodeLeaf(leaf)
        for (const { at, remove, insert } of changes) {
          const start = at % (bytes.length + 1)
          bytes = concat(bytes.subarray(0, start), insert, bytes.subarray(start + remove))
        }
        const other = parsed(bytes)
        if (other !== null) expect(toHex(encodeLeaf(other))).toBe(toHex(bytes))
      }),
      { numRuns: 500 },
    )
  })

  test('is refused with an item missing, added, mistyped or out of bounds', () => {
    const items = decodeCbor(encodeLeaf(example)) as readonly CborValue[]
    const committed = (count: number, length = 32) =>
      new Map(Array.from({ length: count }, (_, i) => [`f${i}`, new Uint8Array(length)] as const))
    const changed: readonly (readonly [item: number, value: CborValue])[] = [
      [0, 1],
      [0, 3],
      [0, '2'],
      [1, ''],
      [1, `exc_a_${'a'.repeat(200)}`],
      [1, 'dec 1'],
      [1, 7],
      [2, 'other'],
      [2, 1],
      [3, -1],
      [3, '7'],
      [3, 2n ** 60n],
      [4, []],
      [4, committed(0)],
      [4, committed(factsMax + 1)],
      [4, committed(1, 33)],
      [4, committed(1, 31)],
      [4, new Map([['caller', 'text']])],
      [4, new Map([['Caller', new Uint8Array(32)]])],
      [4, new Map([['__proto__', new Uint8Array(32)]])],
      [4, new Map([[1, new Uint8Array(32)]])],
      [4, new Map([['a'.repeat(65), new Uint8Array(32)]])],
    ]
    for (const [item, value] of changed) {
      const bytes = encodeCbor(items.with(item, value))
      expect(() => parseLeaf(bytes), `${item}: ${toHex(bytes)}`).toThrow(MalformedError)
    }
    for (const other of [items.slice(0, 4), [...items, 0], [], new Map([[0, items]])]) {
      expect(() => parseLeaf(encodeCbor(other))).toThrow(MalformedError)
    }
    expect(parseLeaf(encodeCbor(items.with(4, committed(factsMax))))).toBeDefined()
  })

  test('of the largest size is within its bound', () => {
    const names = Array.from({ length: factsMax }, (_, i) => `f${i}`.padEnd(64, 'x'))
    const largest: Leaf = {
      exchange: 'e'.repeat(128),
      kind: 'indeterminate',
      at: Number.MAX_SAFE_INTEGER,
      facts: new Map(names.map((each) => [each, new Uint8Array(32)])),
    }
    const bytes = encodeLeaf(largest)
    expect(bytes.length).toBeLessThanOrEqual(leafBytesMax)
    expect(parseLeaf(bytes)).toEqual(largest)
  })

  test('is not written when it could not be read', () => {
    const refused: readonly Partial<Leaf>[] = [
      { facts: new Map() },
      { facts: new Map([['', new Uint8Array(32)]]) },
      { facts: new Map([['a', new Uint8Array(31)]]) },
      { exchange: 'not an id' },
      { at: 0.5 },
    ]
    for (const change of refused) {
      expect(() => encodeLeaf({ ...example, ...change })).toThrow(TypeError)
    }
  })
})

describe('the published vector', () => {
  const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest())
  const stated: readonly (readonly [name: string, value: FactValue])[] = [
    ['receiver', 'pay'],
    ['status', 200],
    ['signed', true],
    ['digest', Uint8Array.of(1, 2, 3)],
    ['note', 'grüße'],
  ]
  const opened = stated.map(([fact, given], i) => {
    const salt = new Uint8Array(saltBytes).fill(i + 1)
    const value = given instanceof Uint8Array ? { bytes: toHex(given) } : given
    return { fact, salt, value, commitment: sha256(commitmentInput(salt, encodeFact(fact, given))) }
  })
  const { exchange, kind, at } = example
  const committed = new Map(opened.map(({ fact, commitment }) => [fact, commitment]))
  const leaf = encodeLeaf({ exchange, kind, at, facts: committed })
  const items = decodeCbor(leaf) as readonly CborValue[]
  const pairs = [...parseLeaf(leaf).facts].map(([fact, commitment]) =>
    concat(encodeCbor(fact), encodeCbor(commitment)),
  )
  const mapAt = leaf.length - concat(...pairs).length
  const unordered = concat(leaf.subarray(0, mapAt), ...pairs.toReversed())
  const twice = concat(leaf.subarray(0, mapAt), ...pairs.slice(1), ...pairs.slice(-1))

  test('has the leaf, its hash and the commitments, byte for byte', () => {
    expect(vector).toEqual({
      source: 'packages/protocol/src/log/leaf.test.ts makes it; byte strings are in hex',
      ...{ exchange, kind, at },
      facts: Object.fromEntries(
        opened.map(({ fact, salt, value, commitment }) => [
          fact,
          { salt: toHex(salt), value, commitment: toHex(commitment) },
        ]),
      ),
      leaf: toHex(leaf),
      leafHash: toHex(hashLeafWith(sha256, leaf)),
      refused: [
        { why: 'another version', hex: toHex(encodeCbor(items.with(0, 1))) },
        { why: 'a head that is not the shortest', hex: `9805${toHex(leaf.subarray(1))}` },
        { why: 'bytes behind the leaf', hex: `${toHex(leaf)}00` },
        { why: 'an item too many', hex: toHex(encodeCbor([...items, 0])) },
        { why: 'no fact', hex: toHex(encodeCbor(items.with(4, new Map()))) },
        { why: 'names in another order', hex: toHex(unordered) },
        { why: 'a name twice', hex: toHex(twice) },
        { why: 'a tag', hex: `d2${toHex(leaf)}` },
      ],
    })
  })

  test.each(vector.refused)('refuses a leaf with $why', ({ hex }) => {
    const bytes = Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
    expect(() => parseLeaf(bytes)).toThrow(MalformedError)
  })
})

describe('the fact that a commitment covers', () => {
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

  test('stands behind a prefix of its own and a salt of one length', () => {
    const salt = new Uint8Array(saltBytes).fill(7)
    const fact = encodeFact('a', 1)
    expect(toHex(commitmentInput(salt, fact))).toBe(`02${'07'.repeat(16)}${toHex(fact)}`)
    for (const length of [0, saltBytes - 1, saltBytes + 1]) {
      expect(() => commitmentInput(new Uint8Array(length), fact)).toThrow(TypeError)
    }
  })
})
