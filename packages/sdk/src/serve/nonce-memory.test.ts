import fc from 'fast-check'
import { expect, test } from 'vitest'
import { NonceMemory } from './nonce-memory.ts'

test('a nonce is first once within its window, however time passes', () => {
  const step = fc.record({ nonce: fc.nat(20), wait: fc.nat(60) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const memory = new NonceMemory(100, 1000, 0)
      const firstAt = new Map<number, number>()
      let now = 0
      for (const { nonce, wait } of steps) {
        now += wait
        const seenAt = firstAt.get(nonce)
        const answer = memory.claim(String(nonce), now)
        if (seenAt !== undefined && now - seenAt < 100) expect(answer).toBe('seen')
        if (answer === 'first') firstAt.set(nonce, now)
        if (seenAt === undefined) expect(answer).toBe('first')
      }
    }),
  )
})

test('a full memory refuses what is new and still knows what it has seen', () => {
  const memory = new NonceMemory(100, 2, 0)
  expect([memory.claim('a', 0), memory.claim('b', 0), memory.claim('c', 0)]).toEqual([
    'first',
    'first',
    'full',
  ])
  expect(memory.claim('a', 1)).toBe('seen')
  expect(memory.claim('c', 100)).toBe('first')
  expect(memory.claim('a', 199)).toBe('seen')
  expect(memory.claim('a', 300)).toBe('first')
})
