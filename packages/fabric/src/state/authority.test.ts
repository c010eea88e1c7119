import { expect, test, vi } from 'vitest'
import { type Authority, becomeFresh, whenFresh } from './authority.ts'

interface Known {
  readonly isFresh: boolean
  readonly isCurrent?: boolean
  readonly helps: boolean
}

function authority({ isFresh, isCurrent = isFresh, helps }: Known) {
  let now = { isFresh, isCurrent }
  const refresh = vi.fn<() => Promise<void>>(() => {
    now = { isFresh: helps || isFresh, isCurrent: helps }
    return Promise.resolve()
  })
  return { isFresh: () => now.isFresh, isCurrent: () => now.isCurrent, refresh } satisfies Authority
}

test('a decision by a fresh state waits for nothing', () => {
  const fresh = authority({ isFresh: true, helps: true })
  expect(whenFresh(fresh, (n: number) => n + 1)(1)).toBe(2)
  expect(fresh.refresh).not.toHaveBeenCalled()
})

test('a decision by an old state waits for one read, and is not made if it is still old', async () => {
  const decide = vi.fn<(n: number) => number>((n) => n + 1)
  const once = authority({ isFresh: false, helps: true })
  expect(await whenFresh(once, decide)(1)).toBe(2)
  expect(once.refresh).toHaveBeenCalledOnce()
  decide.mockClear()
  await expect(whenFresh(authority({ isFresh: false, helps: false }), decide)(1)).rejects.toThrow(
    'too long',
  )
  expect(decide).not.toHaveBeenCalled()
})

test('a read that fails is the failure of the decision', async () => {
  const cutOff = authority({ isFresh: false, helps: false })
  cutOff.refresh.mockRejectedValue(new Error('the network is down'))
  await expect(becomeFresh(cutOff)).rejects.toThrow('the network is down')
})

test('a decision by a state that others may have changed waits for one read', async () => {
  const paused = authority({ isFresh: true, isCurrent: false, helps: true })
  const decide = vi.fn<(n: number) => number>((n) => n + 1)
  const decided = whenFresh(paused, decide)(1)
  expect(decide).not.toHaveBeenCalled()
  expect(await decided).toBe(2)
  expect(paused.refresh).toHaveBeenCalledOnce()
})

test('a read that fails refuses no decision within the bound', async () => {
  const cutOff = authority({ isFresh: true, isCurrent: false, helps: false })
  cutOff.refresh.mockRejectedValue(new Error('the network is down'))
  await expect(becomeFresh(cutOff)).resolves.toBeUndefined()
})
