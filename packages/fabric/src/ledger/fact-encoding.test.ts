import { encodeFact } from '@countersign/protocol'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { factBytesBound, writeFact } from './fact-encoding.ts'
import type { FactValue } from './ledger.ts'

const name = fc.stringMatching(/^[a-z][a-z0-9.-]{0,63}$/)
const value: fc.Arbitrary<FactValue> = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 400 }),
  fc.maxSafeInteger(),
  fc.constantFrom(
    0,
    23,
    24,
    255,
    256,
    65_535,
    65_536,
    2 ** 32 - 1,
    2 ** 32,
    -1,
    -24,
    -25,
    -(2 ** 53) + 1,
  ),
  fc.boolean(),
  fc.uint8Array({ maxLength: 300 }),
)

test('a fact is encoded to the same bytes as by the protocol, and within its bound', () => {
  fc.assert(
    fc.property(name, value, fc.nat(10), (fact, given, at) => {
      const target = Buffer.alloc(at + factBytesBound(fact, given))
      const end = writeFact(target, at, fact, given)
      expect([...target.subarray(at, end)]).toEqual([...encodeFact(fact, given)])
    }),
  )
})

test('facts that the protocol refuses are refused', () => {
  const refused: readonly (readonly [string, FactValue])[] = [
    ['Bad', 1],
    ['', 1],
    ['a', 1.5],
    ['a', Number.NaN],
    ['a', 2 ** 53],
    ['a', '\ud800'],
    ['a', `${'x'.repeat(100)}\udc00`],
  ]
  for (const [fact, given] of refused) {
    expect(() => encodeFact(fact, given)).toThrow()
    const target = Buffer.alloc(factBytesBound(fact, given))
    expect(() => writeFact(target, 0, fact, given)).toThrow()
  }
})

test('a fact larger than a verifier accepts is never committed to', () => {
  for (const given of ['x'.repeat(65_536), new Uint8Array(65_536)]) {
    const target = Buffer.alloc(factBytesBound('a', given))
    expect(() => writeFact(target, 0, 'a', given)).toThrow(RangeError)
  }
})
