import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LeaseTokens } from './lease-tokens.ts'

const tokens = new LeaseTokens(new Uint8Array(64).fill(7))
const place = { channel: 'orders', group: 'workers', caller: 'alice' }
const token = fc.stringMatching(/^[A-Za-z0-9_-]{1,40}$/)

test('a bound token gives back the engine’s own, to whom it was bound', () => {
  fc.assert(
    fc.property(token, (own) => {
      expect(tokens.unbind(tokens.bind(own, place), place)).toBe(own)
    }),
  )
})

test('it is worth nothing to another member, in another group or channel, or changed', () => {
  fc.assert(
    fc.property(token, fc.nat(), (own, at) => {
      const bound = tokens.bind(own, place)
      for (const other of [{ caller: 'bob' }, { group: 'others' }, { channel: 'sales' }]) {
        expect(tokens.unbind(bound, { ...place, ...other })).toBe('nobodys')
      }
      const index = at % bound.length
      const changed = bound[index] === 'A' ? 'B' : 'A'
      const altered = bound.slice(0, index) + changed + bound.slice(index + 1)
      expect(tokens.unbind(altered, place)).toBe('nobodys')
    }),
  )
})

test('nothing unbound is taken for a token', () => {
  expect(tokens.unbind('', place)).toBe('nobodys')
  expect(tokens.unbind('short', place)).toBe('nobodys')
})
