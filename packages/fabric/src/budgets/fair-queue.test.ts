import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FairQueue } from './fair-queue.ts'

interface Item {
  readonly name: string
  readonly caller: string
  readonly cost: number
}

const items = fc.array(
  fc.record({
    name: fc.constantFrom('a', 'b', 'c'),
    caller: fc.constantFrom('x', 'y', 'z'),
    cost: fc.nat(9),
  }),
  { maxLength: 60 },
)

/** All of it at once; served with what each item costs. */
function served(queue: FairQueue<Item>): readonly Item[] {
  const order: Item[] = []
  for (let item = queue.take(); item !== undefined; item = queue.take()) {
    queue.charge(item, item.cost)
    order.push(item)
  }
  return order
}

test('each item that waits is served once, and a removed one is not', () => {
  fc.assert(
    fc.property(items, fc.array(fc.nat(59)), (given, removed) => {
      const queue = new FairQueue<Item>()
      for (const item of given) queue.push(item, item)
      const gone = new Set(removed.flatMap((at) => given[at] ?? []))
      for (const item of gone) expect(queue.remove(item, item)).toBe(true)
      for (const item of gone) expect(queue.remove(item, item)).toBe(false)
      expect(queue.size).toBe(given.length - gone.size)
      const order = served(queue)
      expect(new Set(order)).toEqual(new Set(given.filter((item) => !gone.has(item))))
      expect(order).toHaveLength(given.length - gone.size)
      expect(queue.size).toBe(0)
    }),
  )
})

test('the messages of one caller keep their order', () => {
  fc.assert(
    fc.property(items, (given) => {
      const queue = new FairQueue<Item>()
      for (const item of given) queue.push(item, item)
      const order = served(queue)
      const mine = (item: Item) => item.name === 'a' && item.caller === 'x'
      expect(order.filter(mine)).toEqual(given.filter(mine))
    }),
  )
})

test('a caller waits for one item of each other account and caller, however many there are', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 200 }),
      fc.integer({ min: 1, max: 200 }),
      (mine, other) => {
        const queue = new FairQueue<Item>()
        const push = (name: string, caller: string, count: number): void => {
          for (let i = 0; i < count; i++) {
            const item = { name, caller, cost: 5 }
            queue.push(item, item)
          }
        }
        push('receiver', 'greedy', mine)
        push('other', 'greedy', other)
        push('receiver', 'modest', 1)
        const at = served(queue).findIndex(({ caller }) => caller === 'modest')
        expect(at).toBeLessThan(4)
      },
    ),
  )
})
