import { expect, test } from 'vitest'
import { FairQueue } from './fair-queue.ts'

test('clients take turns, and each keeps its order', () => {
  const queue = new FairQueue<string>(100)
  for (const item of ['m1', 'm2', 'm3', 'm4']) queue.push('mallory', item)
  for (const item of ['a1', 'a2']) queue.push('alice', item)
  queue.push('bob', 'b1')
  expect(queue.take(4)).toEqual(['m1', 'a1', 'b1', 'm2'])
  queue.push('bob', 'b2')
  expect(queue.take(2)).toEqual(['a2', 'm3'])
  expect(queue.take(10)).toEqual(['b2', 'm4'])
  expect([queue.size, queue.take(10)]).toEqual([0, []])
})

test('no client has more than is left for others, and room comes back', () => {
  const queue = new FairQueue<number>(10)
  const add = (client: string, count: number) =>
    Array.from({ length: count }, (_, i) => queue.push(client, i)).filter(Boolean).length
  expect(add('mallory', 20)).toBe(5)
  expect(add('alice', 20)).toBe(3)
  expect(add('bob', 20)).toBe(1)
  expect(queue.size).toBe(9)
  queue.take(9)
  expect(add('mallory', 20)).toBe(5)
})
