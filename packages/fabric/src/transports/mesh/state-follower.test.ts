import { type MeshState, utf8 } from '@countersign/protocol'
import { afterEach, expect, test, vi } from 'vitest'
import { deadline } from '../../../../../test/harness/deadline.ts'
import { followMeshState } from './state-follower.ts'

const state = (sequence: number): MeshState => ({
  ...{
    sequence,
    policies: [],
    slot: 'a',
    entriesFormat: 2,
    requestsPerMinute: 1,
    agents: [],
    endpoints: [],
    routes: {},
  },
  ...{ bundles: {}, renewals: {} },
})

test('a sequence alone means that nothing has changed, and is news of the fabric all the same', async () => {
  let now = 0
  const answers: unknown[] = [state(7), { sequence: 7 }, { sequence: 7 }, state(8)]
  const paths: string[] = []
  const applied: number[] = []
  const last = Promise.withResolvers<void>()
  const agent = {
    request: async ({ path }: { readonly path: string }) => {
      paths.push(path)
      now += 60_000
      const answer = answers.shift()
      if (answer === undefined) {
        last.resolve()
        return new Promise<never>(() => undefined)
      }
      return { status: 200, headers: [], body: utf8(JSON.stringify(answer)) }
    },
  }
  const clock = { now: () => now, monotonic: () => now }
  const follower = await followMeshState(agent, clock, async ({ sequence }) => {
    applied.push(sequence)
  })
  await last.promise
  expect(applied).toEqual([7, 8])
  const queries = paths.map((path) => path.split('?')[1])
  const seven = 'after=7&slot=a'
  expect(queries).toEqual(['after=-1', seven, seven, seven, 'after=8&slot=a'])
  // Three minutes have passed in all, and never more than one of them without an answer.
  expect(follower.current().sequence).toBe(8)
  follower.close()
})

test('the state of another replica is another one, whatever its sequence', async () => {
  const answers: unknown[] = [state(7), { ...state(7), slot: 'b' }]
  const paths: string[] = []
  const last = Promise.withResolvers<void>()
  const agent = {
    request: async ({ path }: { readonly path: string }) => {
      paths.push(path)
      const answer = answers.shift()
      if (answer !== undefined) {
        return { status: 200, headers: [], body: utf8(JSON.stringify(answer)) }
      }
      last.resolve()
      return new Promise<never>(() => undefined)
    },
  }
  const applied: string[] = []
  const clock = { now: () => 0, monotonic: () => 0 }
  const follower = await followMeshState(agent, clock, async ({ slot }) => {
    applied.push(slot)
  })
  await last.promise
  expect(applied).toEqual(['a', 'b'])
  expect(paths.at(-1)).toBe('/v1/mesh/state?after=7&slot=b')
  follower.close()
})

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

test('retries leave nothing behind, however long the fabric is out of reach', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const isAbort = ([type]: readonly unknown[]) => type === 'abort'
  const added = vi.spyOn(EventTarget.prototype, 'addEventListener')
  const removed = vi.spyOn(EventTarget.prototype, 'removeEventListener')
  let polls = 0
  const agent = {
    request: async () => {
      if (polls++ > 0) throw new Error('out of reach')
      return { status: 200, headers: [], body: utf8(JSON.stringify(state(1))) }
    },
  }
  const clock = { now: () => 0, monotonic: () => 0 }
  const follower = await followMeshState(agent, clock, () => Promise.resolve())
  await vi.advanceTimersByTimeAsync(120_000)
  expect(polls).toBeGreaterThan(10)
  const left = added.mock.calls.filter(isAbort).length - removed.mock.calls.filter(isAbort).length
  // That of the wait under way.
  expect(left).toBeLessThanOrEqual(1)
  follower.close()
})

test('a sequence that was not asked for is not a state', async () => {
  const agent = {
    request: async () => ({ status: 200, headers: [], body: utf8('{"sequence":3}') }),
  }
  const clock = { now: () => 0, monotonic: () => 0 }
  await expect(followMeshState(agent, clock, () => Promise.resolve())).rejects.toThrow()
})

test('a fabric that takes entries in another format is refused by name', async () => {
  const { entriesFormat: _, ...former } = state(1)
  for (const told of [former, { ...state(1), entriesFormat: 3 }]) {
    const body = utf8(JSON.stringify(told))
    const agent = { request: async () => ({ status: 200, headers: [], body }) }
    const clock = { now: () => 0, monotonic: () => 0 }
    const opening = followMeshState(agent, clock, () => Promise.resolve())
    await expect(opening).rejects.toThrow(/this connector states format 2: update the older/)
  }
})

test('a fabric that is replaced by one of another format is refused until it is back', async () => {
  const answers = [state(1), { ...state(2), entriesFormat: 3 }, state(3)]
  const back = Promise.withResolvers<void>()
  const agent = {
    async request() {
      const answer = answers.shift()
      if (answer === undefined) return new Promise<never>(() => undefined)
      if (answer.sequence === 3) await back.promise
      return { status: 200, headers: [], body: utf8(JSON.stringify(answer)) }
    },
  }
  const clock = { now: () => 0, monotonic: () => 0 }
  const follower = await followMeshState(agent, clock, () => Promise.resolve())
  await vi.waitFor(
    () => expect(() => follower.current()).toThrow(/takes entries of format 3/),
    deadline,
  )
  back.resolve()
  await vi.waitFor(() => expect(follower.current().sequence).toBe(3), deadline)
  follower.close()
})

test('a request for the present state gets that of a poll which began afterwards, together with others', async () => {
  const polls: { readonly after: string; answer(value: unknown): void }[] = []
  const agent = {
    request: ({ path, signal }: { readonly path: string; readonly signal?: AbortSignal | null }) =>
      new Promise<{ status: number; headers: []; body: Uint8Array }>((resolve, reject) => {
        signal?.addEventListener('abort', () => reject(new Error('interrupted')))
        const answer = (value: unknown) =>
          resolve({ status: 200, headers: [], body: utf8(JSON.stringify(value)) })
        polls.push({ after: path.split(/[=&]/)[1] ?? '', answer })
      }),
  }
  const clock = { now: () => 0, monotonic: () => 0 }
  const applied: number[] = []
  const opening = followMeshState(agent, clock, async ({ sequence }) => {
    applied.push(sequence)
  })
  polls[0]?.answer(state(1))
  const follower = await opening
  await expect.poll(() => polls.length).toBe(2)
  const first = follower.refresh()
  await expect.poll(() => polls.length).toBe(3)
  // The state on its way may be of the time before these asked.
  const [second, third] = [follower.refresh(), follower.refresh()]
  polls[2]?.answer(state(2))
  expect(await first).toBe(true)
  expect(applied).toEqual([1, 2])
  await expect.poll(() => polls.length).toBe(4)
  polls[3]?.answer(state(3))
  expect(await Promise.all([second, third])).toEqual([true, true])
  expect(applied).toEqual([1, 2, 3])
  await expect.poll(() => polls.length).toBe(5)
  expect(polls.map(({ after }) => after)).toEqual(['-1', '1', '-1', '-1', '3'])
  follower.close()
})
