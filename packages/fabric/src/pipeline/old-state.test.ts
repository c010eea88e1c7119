import { expect, test, vi } from 'vitest'
import { unchecked, PipelineWorld as World } from '../../../../test/harness/pipeline.ts'
import { enforce } from './enforce.ts'

test.each([
  ['that is old is read once', undefined],
  ['that cannot be read decides nothing', 'UNDECIDED'],
])('a state %s [operate:fail-closed]', async (_, code) => {
  const world = new World()
  const deps = world.deps()
  let isFresh = false
  const refresh = vi.fn<() => Promise<void>>(async () => {
    if (code !== undefined) throw new Error('the network is down')
    isFresh = true
    return Promise.resolve()
  })
  const authority = { isCurrent: () => isFresh, isFresh: () => isFresh, refresh }
  const authorization = { ...deps.authorization, authority }
  const outcome = await enforce({ ...deps, authorization }, unchecked, world.forwarder)
  expect(outcome.refusal?.code).toBe(code)
  expect(refresh).toHaveBeenCalledOnce()
})
