import { expect, test, vi } from 'vitest'
import { type Authority, becomeFresh, whenFresh } from './authority.ts'

function authority({ isFresh, helps }: { isFresh: boolean; helps: boolean }) {
  let now = isFresh
  const refresh = vi.fn<() => Promise<void>>(() => {
    now = helps
    return Promise.resolve()
  })
  return { isFresh: () => now, refresh } satisfies Authority
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
