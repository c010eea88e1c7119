import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  createExchangeId,
  createId,
  isExchangeId,
  isFormerExchangeId,
  isSlotName,
  slotOfExchange,
  timeOfExchange,
} from './ids.ts'

const slots = fc.stringMatching(/^[a-z][a-z0-9]?$/)
const parts = fc.record({
  slot: slots,
  at: fc.nat({ max: 2 ** 45 }),
  random: fc.uint8Array({ minLength: 10, maxLength: 10 }),
})

test('an exchange id names its slot and time, and no other slot', () => {
  fc.assert(
    fc.property(parts, slots, ({ slot, at, random }, other) => {
      const id = createExchangeId(slot, at, random)
      expect(id.length).toBeLessThanOrEqual(39)
      expect(slotOfExchange(id)).toBe(slot)
      expect(timeOfExchange(id)).toBe(at)
      if (other !== slot) expect(createExchangeId(other, at, random)).not.toBe(id)
    }),
  )
})

test('an id without a slot, or with text that cannot be one, is not an exchange id', () => {
  const id = createExchangeId('b2', 1, new Uint8Array(10))
  const uuid = id.slice(-32)
  const bad = ['', 'B', '2b', 'b-', 'b_c', 'b23', '__proto__', 'b\n', ' b']
  for (const slot of bad) {
    expect(isSlotName(slot), slot).toBe(false)
    expect(isExchangeId(`exc_${slot}_${uuid}`), slot).toBe(false)
    expect(() => createExchangeId(slot, 1, new Uint8Array(10)), slot).toThrow(TypeError)
  }
  for (const text of [`exc_${uuid}`, `msg_b2_${uuid}`, `${id} `, `exc_b2${uuid}`, `x${id}`, 7]) {
    expect(isExchangeId(text), String(text)).toBe(false)
  }
})

test('ids of earlier versions are recognized as such', () => {
  for (const prefix of ['dec', 'exc']) {
    expect(isFormerExchangeId(createId(prefix, 1, new Uint8Array(10)))).toBe(true)
  }
  expect(isFormerExchangeId(createExchangeId('a', 1, new Uint8Array(10)))).toBe(false)
})
