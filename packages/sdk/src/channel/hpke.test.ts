import { randomBytes } from 'node:crypto'
import { utf8 } from '@countersign/protocol'
import { expect, test } from 'vitest'
import {
  generateSealingKey,
  isSealSuite,
  type SealSuiteId,
  unwrapSecret,
  wrapSecret,
} from './hpke.ts'

test.each<SealSuiteId>([1, 2])(
  'suite %i: only the receiver, and only with the same info',
  async (suite) => {
    const [receiver, other] = [await generateSealingKey(suite), await generateSealingKey(suite)]
    const secret = new Uint8Array(randomBytes(32))
    const info = utf8('here and now')
    const wrapped = await wrapSecret(secret, receiver.publicKey, { suite, info })
    expect(await unwrapSecret(wrapped, receiver, { suite, info })).toEqual(new Uint8Array(secret))
    expect(await unwrapSecret(wrapped, other, { suite, info })).toBeNull()
    expect(await unwrapSecret(wrapped, receiver, { suite, info: utf8('there') })).toBeNull()
    const short = { ...wrapped, enc: wrapped.enc.subarray(1) }
    expect(await unwrapSecret(short, receiver, { suite, info })).toBeNull()
    expect(() => wrapSecret(secret, receiver.publicKey.subarray(1), { suite, info })).toThrow(
      TypeError,
    )
  },
)

test('a number outside of the table is not a suite', () => {
  expect([1, 2].every(isSealSuite)).toBe(true)
  expect([0, 3, -1, 1.5, Number.NaN, 65_537].some(isSealSuite)).toBe(false)
})
