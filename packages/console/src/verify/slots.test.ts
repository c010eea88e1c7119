import { expect, test } from 'vitest'
import vector from '../../../protocol/vectors/receipt.json' with { type: 'json' }
import { roleOf } from './slots.ts'

const trust = new TextEncoder().encode(vector.trust)
const receipt = new Uint8Array(Buffer.from(vector.receipt, 'base64'))
const slots = ['receipt', 'trust', 'request', 'response', null] as const

test('trust comes from its own slot, by itself, and from nowhere else', () => {
  for (const slot of slots) {
    for (const bytes of [trust, receipt]) {
      for (const count of [1, 2, 3]) {
        const isTrust = roleOf({ slot, count }, bytes) === 'trust'
        expect({ slot, count, isTrust }).toEqual({
          slot,
          count,
          isTrust: slot === 'trust' && count === 1,
        })
      }
    }
  }
})

test('a trust file among receipts is refused with the place that it belongs to', () => {
  for (const slot of ['receipt', null] as const) {
    for (const count of [1, 2]) {
      const refused = expect.stringContaining('under “Trust file”')
      expect(roleOf({ slot, count }, trust)).toEqual({ refused })
      expect(roleOf({ slot, count }, receipt)).toBe('receipt')
    }
  }
  // A message may be any file, one that looks like a trust file included.
  expect(roleOf({ slot: 'request', count: 1 }, trust)).toBe('request')
})
