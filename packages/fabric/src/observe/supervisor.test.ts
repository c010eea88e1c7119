import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { openSupervisor } from './supervisor.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function supervised(watchdogMs: number | null, notifySocket: string | null = '/run/notify') {
  const sent: string[] = []
  const state = { alive: true }
  const onFault = vi.fn<(cause: Error) => void>()
  const supervisor = openSupervisor({
    environment: { notifySocket, watchdogMs },
    isAlive: () => state.alive,
    onFault,
    send: async (words) => void sent.push(words.join(' ')),
  })
  return { supervisor, sent, state, onFault }
}

describe('systemd', () => {
  test('is notified when the server serves, and when it stops', async () => {
    const { supervisor, sent } = supervised(null)
    supervisor.ready()
    supervisor.stopping(20_000)
    expect(sent).toEqual([
      '--ready STATUS=serving',
      'STOPPING=1 EXTEND_TIMEOUT_USEC=20000000 STATUS=stopping',
    ])
    await vi.advanceTimersByTimeAsync(120_000)
    expect(sent).toHaveLength(2)
    supervisor.close()
  })

  test('has its watchdog fed twice in an interval, while the process is alive', async () => {
    const { supervisor, sent, state } = supervised(1_000)
    supervisor.ready()
    await vi.advanceTimersByTimeAsync(2_000)
    expect(sent.filter((text) => text === 'WATCHDOG=1')).toHaveLength(5)
    state.alive = false
    await vi.advanceTimersByTimeAsync(10_000)
    expect(sent.filter((text) => text === 'WATCHDOG=1')).toHaveLength(5)
    supervisor.close()
  })

  test('is not notified when it did not start the process', async () => {
    const { supervisor, sent } = supervised(1_000, null)
    supervisor.ready()
    supervisor.stopping(1)
    await vi.advanceTimersByTimeAsync(10_000)
    supervisor.close()
    expect(sent).toEqual([])
  })

  test('that cannot be notified is a line in the log, and ends nothing', async () => {
    const onFault = vi.fn<(cause: Error) => void>()
    const supervisor = openSupervisor({
      environment: { notifySocket: '/run/notify', watchdogMs: 1_000 },
      isAlive: () => true,
      onFault,
      send: () => Promise.reject(new Error('no systemd-notify')),
    })
    supervisor.ready()
    await vi.advanceTimersByTimeAsync(1_000)
    expect(onFault).toHaveBeenCalledTimes(4)
    supervisor.close()
  })
})
