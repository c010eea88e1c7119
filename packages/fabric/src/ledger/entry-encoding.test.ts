import {
  commitmentInput,
  ENTRY_KINDS,
  encodeFact,
  encodeLeaf,
  factsMax,
  parseLeaf,
} from '@countersign/protocol'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { systemRandom } from '../lib/random.ts'
import { sha256 } from '../lib/sha256.ts'
import { encodeEntry } from './entry-encoding.ts'
import { openFacts } from './facts.ts'
import { leafHash } from './hash.ts'
import type { EntryDraft, EntryKind, FactValue } from './ledger.ts'
import { LedgerDamage } from './store.ts'

const value = fc.oneof(
  fc.string({ maxLength: 300 }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.maxSafeInteger(),
  fc.boolean(),
  fc.uint8Array({ maxLength: 300 }),
)
const name = fc.stringMatching(/^[a-z][a-z0-9.-]{0,40}$/)
const facts = fc.dictionary(name, value, { minKeys: 1, maxKeys: 20 })
const drafts: fc.Arbitrary<EntryDraft> = fc.record({
  exchange: fc.stringMatching(/^exc_a_[0-9a-f]{32}$/),
  kind: fc.constantFrom(...ENTRY_KINDS),
  at: fc.maxSafeNat(),
  facts,
})

const draft = (given: Record<string, FactValue>): EntryDraft => ({
  ...{ kind: 'refusal', exchange: 'exc_a_0', at: 1 },
  facts: given,
})

function encode(given: EntryDraft, salts = systemRandom(16 * factsMax)) {
  return encodeEntry(given, salts)
}

describe('an entry', () => {
  test('is encoded to the bytes of the protocol, with one commitment to each fact', () => {
    fc.assert(
      fc.property(drafts, (given) => {
        const { leaf, leafHash: hash, detail } = encode(given)
        const parsed = parseLeaf(leaf)
        const { exchange, kind, at } = given
        expect(parsed).toMatchObject({ exchange, kind, at })
        expect(Buffer.from(encodeLeaf(parsed))).toEqual(Buffer.from(leaf))
        expect(hash).toEqual(leafHash(leaf))
        const opened = openFacts(detail, parsed.facts)
        expect(Object.fromEntries(opened.map((fact) => [fact.name, fact.value]))).toEqual({
          ...given.facts,
        })
        for (const { name: fact, value: stated, salt } of opened) {
          const commitment = sha256(commitmentInput(salt, encodeFact(fact, stated)))
          expect(Buffer.from(parsed.facts.get(fact) ?? [])).toEqual(commitment)
        }
        const salts = new Set(opened.map(({ salt }) => Buffer.from(salt).toString('hex')))
        expect(salts.size).toBe(opened.length)
      }),
    )
  })

  test('with the longest fact that a verifier accepts does not fit what is used again', () => {
    const long = 'ü'.repeat(32_700)
    const { leaf, detail } = encode(draft({ before: 1, long, after: 'x' }))
    const opened = openFacts(detail, parseLeaf(leaf).facts)
    expect(opened.map((fact) => fact.value)).toEqual([1, long, 'x'])
  })

  test('that could not be read is not written', () => {
    const refused: readonly EntryDraft[] = [
      draft({}),
      draft({ 'Bad Name': 1 }),
      draft({ a: 0.5 }),
      draft({ a: 'x'.repeat(65_536) }),
      { ...draft({ a: 1 }), exchange: 'not an id' },
      { ...draft({ a: 1 }), at: -1 },
      { ...draft({ a: 1 }), at: 0.5 },
      { ...draft({ a: 1 }), kind: 'other' as EntryKind },
    ]
    for (const given of refused) expect(() => encode(given), JSON.stringify(given)).toThrow()
  })

  test('shares no memory with the next one', () => {
    const first = encode(draft({ a: 'one' }))
    const copies = [first.leaf, first.detail].map((bytes) => Buffer.from(bytes).toString('hex'))
    encode(draft({ b: 'another', c: 2 }))
    expect([first.leaf, first.detail].map((b) => Buffer.from(b).toString('hex'))).toEqual(copies)
  })
})

test('a detail with another value, one fact less or one fact twice opens nothing', () => {
  const salts = systemRandom(48)
  const whole = encode(draft({ a: 'one', b: 2 }), salts)
  const { facts: commitments } = parseLeaf(whole.leaf)
  const other = encode(draft({ a: 'two', b: 2 }), salts)
  expect(() => openFacts(other.detail, commitments)).toThrow(LedgerDamage)
  const less = encode(draft({ a: 'one' }), salts)
  expect(() => openFacts(less.detail, commitments)).toThrow(LedgerDamage)
  const renamed = encode(draft({ a: 'one', c: 2 }), salts)
  expect(() => openFacts(renamed.detail, commitments)).toThrow(LedgerDamage)
  const twice = Buffer.concat([less.detail, whole.detail])
  expect(() => openFacts(twice, commitments)).toThrow(LedgerDamage)
  expect(() => openFacts(whole.detail.subarray(0, -1), commitments)).toThrow(LedgerDamage)
  expect(openFacts(whole.detail, commitments)).toHaveLength(2)
})
