import { expect, test } from 'vitest'
import { giveBackGarbage } from '../lib/heap.ts'
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

test('what was taken is not kept, also where a client always has more', async () => {
  const queue = new FairQueue<object>(Number.POSITIVE_INFINITY)
  queue.push('busy', {})
  const items: WeakRef<object>[] = []
  for (let n = 0; n < 1_000; n++) {
    const item = { n }
    items.push(new WeakRef(item))
    queue.push('busy', item)
    queue.take(1)
  }
  // A weak reference holds what it points to until the turn that made it is over.
  await new Promise((resolve) => setImmediate(resolve))
  await giveBackGarbage()
  expect(items.filter((item) => item.deref() !== undefined).length).toBeLessThan(200)
  expect(queue.size).toBe(1)
})
