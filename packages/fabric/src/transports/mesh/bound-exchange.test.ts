import { isExchangeId, timeOfExchange } from '@countersign/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { boundExchange, isBoundTo } from './bound-exchange.ts'

const signatures = fc.uint8Array({ minLength: 64, maxLength: 64 })
const receivers = fc.constantFrom('a', 'b', 'ab').map((name) => `spiffe://x.test/agent/${name}`)
const bindings = fc.record({ signature: signatures, receiver: receivers })

test('an exchange is bound to the signature of its request and its receiver, and to no other', () => {
  fc.assert(
    fc.property(bindings, bindings, fc.nat({ max: 2 ** 47 }), (own, other, at) => {
      const id = boundExchange('a', at, own)
      expect(isExchangeId(id)).toBe(true)
      expect(timeOfExchange(id)).toBe(at)
      expect(isBoundTo(id, own)).toBe(true)
      const { receiver, signature } = other
      expect(isBoundTo(id, { ...own, receiver })).toBe(receiver === own.receiver)
      const isSame = Buffer.compare(own.signature, signature) === 0
      expect(isBoundTo(id, { ...own, signature })).toBe(isSame)
    }),
  )
  expect(isBoundTo('exc_', { signature: new Uint8Array(64), receiver: 'x' })).toBe(false)
})
