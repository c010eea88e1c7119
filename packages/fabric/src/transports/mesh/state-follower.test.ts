import { type MeshState, utf8 } from '@countersign/protocol'
import { expect, test } from 'vitest'
import { followMeshState } from './state-follower.ts'

const state = (sequence: number): MeshState => ({
  ...{ sequence, policies: [], requestsPerMinute: 1, agents: [], endpoints: [] },
  ...{ bundles: {}, renewals: {} },
})

test('a sequence alone says that nothing has changed, and is news of the fabric all the same', async () => {
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
  expect(paths.map((path) => path.split('=')[1])).toEqual(['-1', '7', '7', '7', '8'])
  // Three minutes have passed in all, and never more than one of them without an answer.
  expect(follower.current().sequence).toBe(8)
  follower.close()
})

test('a sequence that was not asked for is no state', async () => {
  const agent = {
    request: async () => ({ status: 200, headers: [], body: utf8('{"sequence":3}') }),
  }
  const clock = { now: () => 0, monotonic: () => 0 }
  await expect(followMeshState(agent, clock, () => Promise.resolve())).rejects.toThrow()
})
