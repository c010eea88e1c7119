import { parseUtf8 } from '@countersign/protocol'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import {
  createMeshStateFeed,
  type StateReader,
  stateSpacingMs,
  type Urgency,
} from './mesh-state.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

function feedOf() {
  let now = 0
  let built = 0
  let risk = 0
  let tell: (urgency: Urgency) => void = () => undefined
  const clock = { now: () => 1_000, monotonic: () => now }
  const feed = createMeshStateFeed(
    {
      read() {
        built += 1
        const state = {
          policies: [],
          slot: 'a',
          entriesFormat: 2,
          requestsPerMinute: risk,
          agents: [],
          endpoints: [],
          routes: {},
        }
        return { ...state, bundles: {}, renewals: {} }
      },
      onChange(listener) {
        tell = listener
        return () => undefined
      },
    },
    clock,
  )
  return {
    feed,
    built: () => built,
    change(urgency: Urgency, to = risk + 1) {
      risk = to
      tell(urgency)
    },
    async pass(ms: number) {
      now += ms
      await vi.advanceTimersByTimeAsync(ms)
      await settled()
    },
  }
}

/** Gives every woken reader its turn: each turn wakes some of them. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 300; turn++) await new Promise((resolve) => setImmediate(resolve))
}

const reader = (identity = 'a'): StateReader => ({ identity, signal: new AbortController().signal })

const read = (bytes: Uint8Array | Refusal) =>
  JSON.parse(bytes instanceof Refusal ? '{}' : parseUtf8(bytes)) as {
    sequence: number
    requestsPerMinute?: number
  }

test('everyone who waits gets the same bytes, which were made once', async () => {
  const { feed, built, change, pass } = feedOf()
  const first = read(await feed.wait(-1, 25_000, reader()))
  const waits = Array.from({ length: 1_000 }, (_, at) =>
    feed.wait(first.sequence, 25_000, reader(`agent ${at % 10}`)),
  )
  change('now')
  await pass(stateSpacingMs.now)
  const answers = new Set(await Promise.all(waits))
  expect(answers.size).toBe(1)
  expect(built()).toBe(2)
  const [answer] = answers
  expect(read(answer ?? new Uint8Array(0))).toMatchObject({ sequence: first.sequence + 1 })
})

test('changes that come together are one version, and none is lost', async () => {
  const { feed, built, change, pass } = feedOf()
  const { sequence } = read(await feed.wait(-1, 25_000, reader()))
  for (let at = 0; at < 100; at++) change('soon')
  const next = feed.wait(sequence, 25_000, reader())
  await pass(stateSpacingMs.soon)
  expect(read(await next)).toMatchObject({
    sequence: sequence + 1,
    slot: 'a',
    requestsPerMinute: 100,
  })
  expect(built()).toBe(2)
})

test('agents can make versions follow one another at a bounded rate, and never delay a change of status', async () => {
  const { feed, built, change, pass } = feedOf()
  let { sequence } = read(await feed.wait(-1, 25_000, reader()))
  let isOver = false
  const follower = (async () => {
    while (!isOver) ({ sequence } = read(await feed.wait(sequence, 25_000, reader())))
  })()
  const before = built()
  for (let ms = 0; ms < 5_000; ms += 20) {
    change('soon')
    await pass(20)
  }
  expect(built() - before).toBeLessThanOrEqual(5_000 / stateSpacingMs.soon + 1)
  const version = sequence
  change('now')
  await pass(stateSpacingMs.now)
  expect(sequence).toBeGreaterThan(version)
  isOver = true
  feed.close()
  await follower
})

test('a read after a change returns the change', async () => {
  const { feed, change, pass } = feedOf()
  await feed.wait(-1, 25_000, reader())
  change('soon', 7)
  const fresh = feed.wait(-1, 25_000, reader())
  await pass(stateSpacingMs.soon)
  expect(read(await fresh)).toMatchObject({ slot: 'a', requestsPerMinute: 7 })
})

test('a change that is taken back is none', async () => {
  const { feed, change, pass } = feedOf()
  const { sequence } = read(await feed.wait(-1, 25_000, reader()))
  let isAnswered = false
  const next = feed.wait(sequence, 25_000, reader()).finally(() => {
    isAnswered = true
  })
  change('soon', 0)
  await pass(stateSpacingMs.soon)
  expect(isAnswered).toBe(false)
  await pass(25_000)
  expect(read(await next)).toEqual({ sequence })
})

test('a reader of another time, before or after, gets the state at once', async () => {
  const { feed } = feedOf()
  const { sequence } = read(await feed.wait(-1, 25_000, reader()))
  for (const after of [sequence - 1, sequence + 1, Number.MAX_SAFE_INTEGER]) {
    expect(read(await feed.wait(after, 25_000, reader())).requestsPerMinute).toBe(0)
  }
})

test('one identity fills its own share of the waiters, not that of another', async () => {
  const { feed, pass } = feedOf()
  const { sequence } = read(await feed.wait(-1, 25_000, reader()))
  const answers: (Uint8Array | Refusal)[] = []
  const waits = Array.from({ length: 200 }, async () => {
    answers.push(await feed.wait(sequence, 25_000, reader('greedy')))
  })
  await settled()
  expect(answers).toHaveLength(72)
  expect(answers[0]).toMatchObject({ code: 'OVERLOADED', limit: 'mesh.stateReaders, 128' })
  const honest = feed.wait(sequence, 25_000, reader('honest'))
  await pass(25_000)
  expect(read(await honest)).toEqual({ sequence })
  await Promise.all(waits)
  expect(await feed.wait(-1, 25_000, reader('greedy'))).not.toBeInstanceOf(Refusal)
})

test('a reader that leaves makes room', async () => {
  const { feed, pass } = feedOf()
  const { sequence } = read(await feed.wait(-1, 25_000, reader()))
  const leaving = new AbortController()
  const gone = Array.from({ length: 128 }, () =>
    feed.wait(sequence, 25_000, { identity: 'a', signal: leaving.signal }),
  )
  leaving.abort()
  await Promise.all(gone)
  const next = feed.wait(sequence, 25_000, reader('a'))
  await pass(25_000)
  expect(await next).not.toBeInstanceOf(Refusal)
})
