import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { LoopTurns } from './loop-turns.ts'

/** The turns that the event loop makes until `work` has ended. */
async function turnsOf(work: Promise<unknown>): Promise<number> {
  let [turns, isOver] = [0, false]
  void work.then(() => {
    isOver = true
  })
  while (!isOver) {
    await nextTurn()
    turns += 1
  }
  return turns
}

test('pieces without end leave turns to others, also where no time passes', async () => {
  const turns = new LoopTurns(() => 0)
  const stream = async (): Promise<void> => {
    for (let i = 0; i < 640; i++) await turns.next(stream, '')
  }
  expect(await turnsOf(stream())).toBeGreaterThanOrEqual(9)
})

test('two streams go on in turn', async () => {
  const turns = new LoopTurns(() => 0)
  const order: string[] = []
  const stream = async (name: string): Promise<void> => {
    const owner = {}
    for (let i = 0; i < 256; i++) {
      await turns.next(owner, '')
      order.push(name)
    }
  }
  await Promise.all([stream('a'), stream('b')])
  expect(order.indexOf('b')).toBeLessThan(order.lastIndexOf('a'))
})

test('a turn is of the work that has waited longest, and nothing overtakes what waits', async () => {
  const turns = new LoopTurns(() => 0)
  const [first, second, third] = [{}, {}, {}]
  for (let step = 0; step < 64; step++) expect(turns.next(first, '')).toBeNull()
  const waits = [turns.next(first, ''), turns.next(second, '')]
  await waits[0]
  expect(turns.next(first, '')).toBeNull()
  const overtaking = turns.next(third, '')
  expect(overtaking).not.toBeNull()
  await Promise.all([...waits, overtaking])
})
