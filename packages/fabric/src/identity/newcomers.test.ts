import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { AgentRecord } from './directory.ts'
import { awaitNewcomers, awaitNews, newcomerMs } from './newcomers.ts'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

function openCopy() {
  const records = new Map<string, AgentRecord>()
  const listeners = new Set<() => void>()
  const news = awaitNews((listener) => {
    listeners.add(listener)
    return () => listeners.delete(listener)
  })
  const wait = awaitNewcomers({ find: (name) => records.get(name) ?? null }, news)
  const hear = (name: string, generation: number): void => {
    records.set(name, { name, generation } as AgentRecord)
    for (const listener of listeners) listener()
  }
  return { wait, hear, listeners }
}

test('an enrolment that is known, or an earlier one, needs no wait', () => {
  const { wait, hear } = openCopy()
  hear('a', 2)
  expect([wait('a', 2), wait('a', 1), wait('a', 0)]).toEqual([null, null, null])
})

test('a wait ends with the news of that very enrolment', async () => {
  const { wait, hear, listeners } = openCopy()
  let isOver = false
  const waiting = wait('a', 2)?.then(() => {
    isOver = true
  })
  hear('b', 2)
  hear('a', 1)
  await vi.advanceTimersByTimeAsync(newcomerMs - 1)
  expect(isOver).toBe(false)
  hear('a', 2)
  await waiting
  expect(isOver).toBe(true)
  expect(listeners.size).toBe(0)
  expect(vi.getTimerCount()).toBe(0)
})

test('without news a wait ends all the same', async () => {
  const { wait, listeners } = openCopy()
  const waiting = wait('a', 0)
  await vi.advanceTimersByTimeAsync(newcomerMs)
  await waiting
  expect(listeners.size).toBe(0)
})

test('an agent can wait when another one has used up its waits', async () => {
  const { wait } = openCopy()
  const waiting = Array.from({ length: 8 }, () => wait('a', 0))
  expect(waiting).not.toContain(null)
  expect(wait('a', 0)).toBeNull()
  expect(wait('b', 0)).not.toBeNull()
  await vi.advanceTimersByTimeAsync(newcomerMs)
  await Promise.all(waiting.filter((each) => each !== null))
  expect(wait('a', 0)).not.toBeNull()
})

test('no more wait than there are places', () => {
  const { wait } = openCopy()
  const waits = Array.from({ length: 300 }, (_, at) => wait(`agent-${at}`, 0))
  expect(waits.filter((each) => each !== null)).toHaveLength(256)
})
