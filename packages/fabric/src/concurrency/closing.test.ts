import { describe, expect, test, vi } from 'vitest'
import { closeInOrder } from './closing.ts'

describe('parts are closed in order', () => {
  test('one after the other, and without faults when all of them close', async () => {
    const closed: string[] = []
    const part = (name: string) => ({
      name,
      close: async () => {
        await new Promise(setImmediate)
        closed.push(name)
      },
    })
    expect(await closeInOrder([part('listener'), part('ledger')])).toEqual([])
    expect(closed).toEqual(['listener', 'ledger'])
  })

  test('also behind one that throws, rejects or hangs, each of which is reported', async () => {
    vi.useFakeTimers()
    const last = vi.fn<() => void>()
    const closing = closeInOrder([
      {
        name: 'throws',
        close: () => {
          throw new Error('a')
        },
      },
      { name: 'rejects', close: () => Promise.reject(new Error('b')) },
      { name: 'hangs', close: () => new Promise(() => undefined) },
      {
        name: 'waits',
        boundMs: 60_000,
        close: () => new Promise((done) => setTimeout(done, 50_000)),
      },
      { name: 'last', close: last },
    ])
    await vi.advanceTimersByTimeAsync(60_000)
    const faults = await closing
    vi.useRealTimers()
    expect(faults.map(({ name }) => name)).toEqual(['throws', 'rejects', 'hangs'])
    expect(last).toHaveBeenCalledOnce()
  })
})
