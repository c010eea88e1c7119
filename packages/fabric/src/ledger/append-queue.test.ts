import { expect, test } from 'vitest'
import { AppendQueue } from './append-queue.ts'
import { LedgerBusy, LedgerUnavailable } from './unavailable.ts'

const bounds = {
  queueEntriesMax: 2,
  queueBytesMax: 1000,
  waitingEntriesMax: 4,
  waitMsMax: 3_600_000,
}
const still = { now: () => 0, monotonic: () => 0 }

/** Takes the places that are free at once. */
function fill(queue: AppendQueue, ...owners: readonly string[]): void {
  expect(owners.map((owner) => queue.enter(owner))).toEqual(owners.map(() => null))
}

const limitOf = (act: () => unknown): string | null => {
  try {
    act()
    return null
  } catch (cause) {
    return cause instanceof LedgerBusy ? cause.limit.name : String(cause)
  }
}

test('callers over the size of the queue wait for their turn, in the order in which they came', async () => {
  const queue = new AppendQueue(bounds, still)
  expect([queue.enter('a'), queue.enter('b')]).toEqual([null, null])
  const order: string[] = []
  const turns = ['c', 'd'].map(async (name) => {
    await queue.enter(name)
    order.push(name)
  })
  expect(queue.depth).toBe(4)
  queue.leave('a', 0)
  queue.leave('b', 0)
  await Promise.all(turns)
  expect(order).toEqual(['c', 'd'])
  expect(queue.depth).toBe(2)
})

test('bytes count like entries', async () => {
  const queue = new AppendQueue(bounds, still)
  fill(queue, 'a')
  queue.wrote(1000)
  const turn = queue.enter('b')
  expect(turn).toBeInstanceOf(Promise)
  queue.leave('a', 1000)
  await turn
})

test('when too many wait, the next one is refused with the limit, and what closes an exchange passes', () => {
  const queue = new AppendQueue(bounds, still)
  for (const owner of ['a', 'b', 'c', 'd', 'e', 'f']) {
    const turn = limitOf(() => void queue.enter(owner))
    if (turn !== null) expect(turn).toBe('ledger.waitingEntries')
  }
  expect(limitOf(() => queue.enter('g'))).toBe('ledger.waitingEntries')
  const { depth } = queue
  queue.pass()
  expect(queue.depth).toBe(depth + 1)
})

test('one caller cannot take every place of the queue', () => {
  const queue = new AppendQueue(bounds, still)
  let taken = 0
  while (limitOf(() => void queue.enter('greedy')) === null) taken += 1
  expect(taken).toBe(3)
  expect(limitOf(() => void queue.enter('other'))).toBeNull()
})

test('a wait ends by its deadline, with the limit', async () => {
  const queue = new AppendQueue(
    { ...bounds, waitMsMax: 1 },
    {
      now: () => 0,
      monotonic: () => performance.now(),
    },
  )
  fill(queue, 'a', 'b')
  const refused = await queue.enter('c')?.then(
    () => null,
    (cause: unknown) => cause,
  )
  expect(refused).toMatchObject({ limit: { name: 'ledger.waitMs' } })
  expect(queue.depth).toBe(2)
})

test('a ledger that stops leaves no caller waiting', async () => {
  const queue = new AppendQueue(bounds, still)
  fill(queue, 'a', 'b')
  const turn = queue.enter('c')
  queue.stop(new LedgerUnavailable('stopped'))
  await expect(turn).rejects.toThrow('stopped')
})
