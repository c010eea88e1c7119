import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ReplayWindow } from './seal-window.ts'

test('a window remembers exactly what was completed, and takes everything below it as completed', () => {
  const step = fc.integer({ min: 0, max: 5000 })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (completed) => {
      const window = new ReplayWindow(1024)
      const model = new Set<number>()
      let highest = -1
      for (const sequence of completed) {
        window.complete(sequence)
        if (sequence > highest - 1024) model.add(sequence)
        highest = Math.max(highest, sequence)
      }
      for (let sequence = 0; sequence <= 5001; sequence += 1) {
        const expected = model.has(sequence) || (highest >= 0 && sequence <= highest - 1024)
        expect(window.isCompleted(sequence), `${sequence} of ${highest}`).toBe(expected)
      }
    }),
    { numRuns: 40 },
  )
})

test('a window narrower than the protocol’s minimum is not made', () => {
  expect(() => new ReplayWindow(512)).toThrow(RangeError)
})
