import { isId, timeOfId } from '@countersign/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { systemRandom } from '../../lib/random.ts'
import { BoundExchanges, isBoundTo } from './bound-exchange.ts'

const signature = fc.uint8Array({ minLength: 64, maxLength: 64 })

test('an exchange is bound to the signature of its request, and to no other', () => {
  fc.assert(
    fc.property(signature, signature, fc.nat({ max: 2 ** 47 }), (own, other, at) => {
      const id = new BoundExchanges(systemRandom).create(at, own)
      expect(isId('dec', id)).toBe(true)
      expect(timeOfId('dec', id)).toBe(at)
      expect(isBoundTo(id, own)).toBe(true)
      expect(isBoundTo(id, other)).toBe(Buffer.compare(own, other) === 0)
    }),
  )
})

test('copies of one request have exchanges of their own, so that the refusal of each is on record', () => {
  const exchanges = new BoundExchanges(systemRandom)
  const copies = [1, 1, 1, 2, 1].map((at) => exchanges.create(at, new Uint8Array(64)))
  copies.push(exchanges.create(1, null), exchanges.create(1, null))
  expect(new Set(copies.slice(0, 4)).size).toBe(4)
  expect(isBoundTo(copies[3] ?? '', new Uint8Array(64))).toBe(true)
  expect(isBoundTo('dec_', new Uint8Array(64))).toBe(false)
})
