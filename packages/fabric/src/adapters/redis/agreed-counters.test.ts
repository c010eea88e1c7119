import { ListenerSet } from '@countersign/protocol'
import { afterEach, expect, test } from 'vitest'
import { systemClock } from '../../lib/clock.ts'
import { StateStream, streamLimits } from '../../state/state-stream.ts'
import { memoryStateStore, StateMemory } from '../memory/state-store.ts'
import { AgreedCounters, agreementMs } from './agreed-counters.ts'

const closers: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

/** A server of counters as its processes look at it. */
class Server {
  readonly looks = new ListenerSet()
  value: string | null

  constructor(value: string) {
    this.value = value
  }

  marker = (): string | null => this.value
  now = (): number => systemClock.now()
  fault = (): string | null => (this.value === null ? 'it is out of reach' : null)
  onLook = (listener: () => void): (() => void) => this.looks.add(listener)

  /** Another marker, as after a flush. */
  lose(value: string): void {
    this.value = value
    this.looks.notify()
  }
}

/** The processes of one fabric. A note lasts for as long as the process holds its slot. */
function openFabric() {
  const memory = new StateMemory()
  const notes = new Map<string, string | null>()
  return {
    notes,
    async start(slot: string, server: Server, { isFirst = false } = {}) {
      const log: string[] = []
      const state = await StateStream.open({
        ...{ store: memoryStateStore(memory), clock: systemClock },
        onFatal: (cause) => log.push(String(cause)),
      })
      // Its own time: a test that waits for an answer is not about how long that takes.
      let elapsed = 0
      const counters = new AgreedCounters({
        ...{ state, server, isFirst, log: (event) => log.push(event) },
        clock: { monotonic: () => (elapsed += agreementMs / 4) },
      })
      closers.push(() => {
        counters.close()
        return state.close()
      })
      const joined = counters.join({
        publish: async () => void notes.set(slot, server.marker()),
        slotWith: async (marker) =>
          [...notes].find(([name, used]) => name !== slot && used === marker)?.[0] ?? null,
      })
      // Awaited by the test; a rejection is not left to the process meanwhile.
      joined.catch(() => undefined)
      return { counters, state, log, joined }
    },
  }
}

const never = Number.NEGATIVE_INFINITY

test('the server of a new fabric has lost nothing, for its later processes as well', async () => {
  const { start } = openFabric()
  const server = new Server('m1')
  for (const [slot, isFirst] of [
    ['a', true],
    ['b', false],
  ] as const) {
    const { counters, joined } = await start(slot, server, { isFirst })
    await joined
    expect(await counters.marker()).toBe('m1')
    expect([counters.lostAt(), counters.fault()]).toEqual([never, null])
  }
})

test('nothing is claimed before there is an agreement', async () => {
  const { start } = openFabric()
  const { counters, joined } = await start('a', new Server('m1'))
  await joined
  const late = await start('b', new Server('m2'))
  await expect(late.counters.marker()).resolves.toBe('m1')
  expect(late.counters.fault()).not.toBe(null)
  await expect(late.joined).rejects.toThrow('log slot a has other counters than this one')
  await expect(late.counters.marker()).rejects.toThrow('log slot a has other counters')
  expect(await counters.marker()).toBe('m1')
})

test('a server that an existing fabric did not use before counts as a loss', async () => {
  const { start } = openFabric()
  const before = systemClock.now()
  const { counters, joined, log } = await start('a', new Server('m1'))
  await joined
  expect(counters.lostAt()).toBeGreaterThan(before + streamLimits.staleMs)
  expect(log).toEqual(['used values may be lost'])
})

test('of a new fabric, a process that was not the first to agree counts its change as a loss', async () => {
  const { start, notes } = openFabric()
  const first = await start('a', new Server('m1'), { isFirst: true })
  await first.joined
  notes.delete('a')
  // It found no commit when it started, and was paused since then.
  const paused = await start('b', new Server('m2'), { isFirst: true })
  await paused.joined
  expect(await paused.counters.marker()).toBe('m2')
  expect(paused.counters.lostAt()).toBeGreaterThan(systemClock.now())
})

test('processes that both find the server emptied go on with it, after a loss', async () => {
  const { start, notes } = openFabric()
  const server = new Server('m1')
  const [a, b] = [await start('a', server, { isFirst: true }), await start('b', server)]
  await Promise.all([a.joined, b.joined])
  server.lose('m2')
  await expect.poll(() => a.counters.fault() ?? b.counters.fault()).toBe(null)
  for (const { counters } of [a, b]) {
    await expect.poll(() => counters.marker()).toBe('m2')
    expect(counters.lostAt()).toBeGreaterThan(systemClock.now())
  }
  expect([...notes.values()]).toEqual(['m2', 'm2'])
})

test('a process that is led to another server claims nothing, and the other one goes on', async () => {
  const { start, notes } = openFabric()
  const [one, two] = [new Server('m1'), new Server('m1')]
  const [a, b] = [await start('a', one, { isFirst: true }), await start('b', two)]
  await Promise.all([a.joined, b.joined])
  two.lose('m2')
  await expect.poll(() => b.log).toEqual(['counters differ'])
  await expect(b.counters.marker()).rejects.toThrow('log slot a has other counters')
  expect([a.counters.fault(), await a.counters.marker()]).toEqual([null, 'm1'])
  // The other process has ended, and its lease with it.
  notes.delete('a')
  two.lose('m2')
  await expect.poll(() => b.counters.fault()).toBe(null)
  expect(b.counters.lostAt()).toBeGreaterThan(systemClock.now())
  // When it comes back, it is the one that differs.
  one.lose('m1')
  await expect.poll(() => a.log).toContain('counters differ')
  await expect(a.counters.marker()).rejects.toThrow('log slot b has other counters')
})

test('a process that does not read the state claims nothing', async () => {
  const { start } = openFabric()
  const { counters, state, joined } = await start('a', new Server('m1'))
  await joined
  await state.close()
  await expect(counters.marker()).rejects.toThrow('not read')
})
