import fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { testClock } from '../../../../test/contracts/identity-lab.ts'
import { cutOffState } from '../../../../test/harness/cut-off-state.ts'
import { deadline } from '../../../../test/harness/deadline.ts'
import { memoryStateStore, StateMemory } from '../adapters/memory/state-store.ts'
import { becomeFresh } from './authority.ts'
import type { ProjectedChange } from './projection.ts'
import type { StateStore } from './state-store.ts'
import { StateStream, type StreamLimits } from './state-stream.ts'

const opened: StateStream[] = []
afterEach(async () => {
  for (const stream of opened.splice(0)) await stream.close()
})

/** No poll within a test, unless it is about polls: a change arrives by a wake-up or a refresh. */
const never = 2 ** 30

interface Setting {
  readonly n: number
}

async function openProcess(
  memory: StateMemory,
  {
    limits,
    through,
  }: { limits?: Partial<StreamLimits>; through?: (s: StateStore) => StateStore } = {},
) {
  const clock = testClock()
  const onFatal = vi.fn<(cause: unknown) => void>()
  const onReadFault = vi.fn<(cause: unknown) => void>()
  const onReadAgain = vi.fn<() => void>()
  const onHistory = vi.fn<() => void>()
  const own = memoryStateStore(memory)
  const stream = await StateStream.open({
    ...{ store: through?.(own) ?? own, clock, onFatal, onReadFault, onReadAgain, onHistory },
    limits: { pollMs: never, readMs: 20, ...limits },
  })
  opened.push(stream)
  const settings = stream.project<Setting>({
    table: 'settings',
    parse(_, text) {
      const n = Number(text)
      if (!Number.isInteger(n)) throw new TypeError(`${text} is not a number`)
      return { n }
    },
    format: ({ n }) => String(n),
  })
  const set = (key: string, n: number) => stream.commit(() => [settings.overwrite(key, { n })])
  const valueOf = (key: string) => settings.find(key)?.n ?? null
  return { stream, settings, set, valueOf, clock, onFatal, onReadFault, onReadAgain, onHistory }
}

const row = (value: string | null, key = 'a') => ({ table: 'settings', key, value }) as const

describe('a stream', () => {
  test('reports another history once, with the first read of it', async () => {
    const memory = new StateMemory()
    const { stream, onHistory } = await openProcess(memory)
    await stream.refresh()
    expect(onHistory).not.toHaveBeenCalled()
    memory.lineOfCommits = 'another'
    await stream.refresh()
    await stream.refresh()
    expect([onHistory.mock.calls.length, stream.history]).toEqual([1, 'another'])
  })

  test('begins with every row, and shows a commit when it resolves', async () => {
    const memory = new StateMemory()
    memory.commit([row('1')])
    const { stream, set, valueOf } = await openProcess(memory)
    expect(valueOf('a')).toBe(1)
    const written = set('a', 2)
    expect(valueOf('a')).toBe(1)
    expect(await written).toBe(true)
    expect([valueOf('a'), stream.revision]).toEqual([2, 2])
  })

  test('shows the commits of another process, in the same order', async () => {
    const memory = new StateMemory()
    const [one, two] = [await openProcess(memory), await openProcess(memory)]
    const seen: string[][] = [[], []]
    for (const [i, { settings }] of [one, two].entries()) {
      const text = ({ key, before, after }: ProjectedChange<Setting>) =>
        `${key} ${before?.n ?? '-'}>${after?.n ?? '-'}`
      settings.onChange((changes) => seen[i]?.push(changes.map(text).join(',')))
    }
    await one.set('a', 1)
    await two.stream.commit(() => [
      two.settings.change('a', { n: 2 }),
      two.settings.change('b', { n: 3 }),
    ])
    await one.stream.commit(() => [one.settings.overwrite('a', null)])
    await vi.waitFor(() => expect(two.stream.revision).toBe(3), deadline)
    expect(seen[0]).toEqual(['a ->1', 'a 1>2,b ->3', 'a 2>-'])
    expect(seen[1]).toEqual(seen[0])
  })

  test('polls, so that a lost wake-up costs time only', async () => {
    const memory = new StateMemory()
    const deaf = (store: StateStore) => ({ ...store, onWake: () => () => undefined })
    const { valueOf } = await openProcess(memory, { through: deaf, limits: { pollMs: 5 } })
    memory.commit([row('7')])
    await expect.poll(() => valueOf('a'), deadline).toBe(7)
  })

  test('reads again when it is woken during a read', async () => {
    const memory = new StateMemory()
    let release: () => void = () => undefined
    let isHeld = false
    const slow = (store: StateStore): StateStore => ({
      ...store,
      async changes(after, rowsMax) {
        const answer = await store.changes(after, rowsMax)
        if (isHeld) await new Promise<void>((resolve) => (release = resolve))
        return answer
      },
    })
    const { stream, valueOf } = await openProcess(memory, {
      through: slow,
      limits: { readMs: never },
    })
    isHeld = true
    const read = stream.refresh()
    await vi.waitFor(() => release(), deadline)
    memory.commit([row('7')])
    isHeld = false
    await Promise.resolve()
    release()
    await read
    await expect.poll(() => valueOf('a'), deadline).toBe(7)
  })
})

describe('a write', () => {
  test('that loses to another process decides again by the new state', async () => {
    const memory = new StateMemory()
    const [one, two] = [await openProcess(memory), await openProcess(memory)]
    await one.set('n', 0)
    const increment = ({ stream, settings, valueOf }: typeof one) =>
      stream.commit(() => [settings.change('n', { n: (valueOf('n') ?? 0) + 1 })])
    await Promise.all(Array.from({ length: 10 }, (_, i) => increment(i % 2 === 0 ? one : two)))
    await one.stream.refresh()
    expect(one.valueOf('n')).toBe(10)
  })

  test('whose condition is gone is answered with false, and nothing is written', async () => {
    const memory = new StateMemory()
    const [one, two] = [await openProcess(memory), await openProcess(memory)]
    await one.set('token', 1)
    await two.stream.refresh()
    const use = ({ stream, settings }: typeof one) =>
      stream.commit(() =>
        settings.find('token') === null ? null : [settings.change('token', null)],
      )
    expect((await Promise.all([use(one), use(two)])).toSorted()).toEqual([false, true])
    expect(memory.read().revision).toBe(2)
  })

  test('that loses each time ends with an error, within its attempts', async () => {
    const memory = new StateMemory()
    const { stream, settings } = await openProcess(memory, { limits: { attempts: 3 } })
    const make = vi.fn(() => {
      const change = settings.change('a', { n: 1 })
      memory.commit([row(`${make.mock.calls.length + 1}`)])
      return [change]
    })
    await expect(stream.commit(make)).rejects.toThrow('nothing was written, so try again')
    expect(make).toHaveBeenCalledTimes(3)
    expect(memory.read().revision).toBe(3)
  })

  test('whose answer is lost is not repeated, and shows when it took effect', async () => {
    const memory = new StateMemory()
    const lossy = (store: StateStore): StateStore => ({
      ...store,
      async commit(changes) {
        await store.commit(changes)
        throw new Error('the connection broke')
      },
    })
    const { set, valueOf } = await openProcess(memory, { through: lossy })
    await expect(set('a', 1)).rejects.toThrow('the connection broke')
    expect([valueOf('a'), memory.read().revision]).toEqual([1, 1])
  })

  test('that never returns ends within its time, and later ones have their turn', async () => {
    const memory = new StateMemory()
    let isStuck = true
    const stuck = (store: StateStore): StateStore => ({
      ...store,
      commit: (changes) => (isStuck ? new Promise(() => undefined) : store.commit(changes)),
    })
    const { set } = await openProcess(memory, { through: stuck, limits: { commitMs: 20 } })
    await expect(set('a', 1)).rejects.toThrow('has not answered')
    isStuck = false
    expect(await set('a', 2)).toBe(true)
  })
})

describe('a process that is cut off', () => {
  test.for(['failing', 'hanging'] as const)(
    'does not decide after its time, and decides again afterwards (%s)',
    async (how) => {
      const memory = new StateMemory()
      const network = cutOffState(memoryStateStore(memory))
      const process = await openProcess(memory, { through: () => network.store })
      const { stream, clock, valueOf, onReadFault, onReadAgain } = process
      network.network = how
      memory.commit([row('1')])
      clock.advance(2_000)
      expect(stream.isFresh()).toBe(true)
      clock.advance(1)
      expect(stream.isFresh()).toBe(false)
      await expect(stream.refresh()).rejects.toThrow('too long')
      await expect(process.set('a', 2)).rejects.toThrow('too long')
      expect([stream.isFresh(), valueOf('a')]).toEqual([false, null])
      expect(onReadFault).toHaveBeenCalledOnce()
      network.network = 'up'
      await stream.refresh()
      expect([stream.isFresh(), valueOf('a')]).toEqual([true, 1])
      expect(onReadAgain).toHaveBeenCalledOnce()
      expect(process.onFatal).not.toHaveBeenCalled()
    },
  )

  test('that was paused for a moment decides by what was changed meanwhile', async () => {
    const memory = new StateMemory()
    const deaf = (store: StateStore) => ({ ...store, onWake: () => () => undefined })
    const { stream, clock, valueOf } = await openProcess(memory, { through: deaf })
    memory.commit([row('1')])
    clock.advance(250)
    await becomeFresh(stream)
    expect(valueOf('a')).toBe(null)
    clock.advance(1)
    expect(stream.isFresh()).toBe(true)
    await becomeFresh(stream)
    expect(valueOf('a')).toBe(1)
  })

  test('counts its age from before the read was sent', async () => {
    const memory = new StateMemory()
    let pause = () => undefined as void
    const slow = (store: StateStore): StateStore => ({
      ...store,
      changes: async (after, rowsMax) => {
        const answer = await store.changes(after, rowsMax)
        pause()
        return answer
      },
    })
    const { stream, clock } = await openProcess(memory, { through: slow })
    pause = () => clock.advance(2_001)
    await stream.refresh()
    expect(stream.isFresh()).toBe(false)
    pause = () => undefined
    await stream.refresh()
    expect(stream.isFresh()).toBe(true)
  })

  test('bounds the calls that never return', async () => {
    const memory = new StateMemory()
    const network = cutOffState(memoryStateStore(memory))
    const { stream } = await openProcess(memory, {
      through: () => network.store,
      limits: { readMs: 1 },
    })
    network.network = 'hanging'
    for (let i = 0; i < 16; i += 1) await expect(stream.refresh()).rejects.toThrow()
    const cause = expect.objectContaining({ message: expect.stringContaining('16 calls') })
    await expect(stream.refresh()).rejects.toMatchObject({ cause })
  })
})

describe('a process that has fallen behind the history', () => {
  test('reads all rows, and its listeners receive the difference', async () => {
    const memory = new StateMemory(2)
    const deaf = (store: StateStore) => ({ ...store, onWake: () => () => undefined })
    memory.commit([row('1', 'kept'), row('1', 'changed'), row('1', 'removed')])
    const { stream, settings, valueOf } = await openProcess(memory, { through: deaf })
    const seen: unknown[] = []
    settings.onChange((changes) => seen.push(...changes))
    memory.commit([row(null, 'removed')])
    memory.commit([row('2', 'changed')])
    memory.commit([row('3', 'changed'), row('1', 'new')])
    await stream.refresh()
    expect(seen).toEqual([
      { key: 'removed', before: { n: 1 }, after: null },
      { key: 'changed', before: { n: 1 }, after: { n: 3 } },
      { key: 'new', before: null, after: { n: 1 } },
    ])
    expect([stream.revision, valueOf('kept')]).toEqual([4, 1])
  })

  test('knows the same as one that followed, whatever was committed [property]', async () => {
    const change = fc.record({
      key: fc.constantFrom('a', 'b', 'c'),
      value: fc.option(fc.constantFrom('1', '2', '3')),
    })
    const commits = fc.array(fc.array(change, { minLength: 1, maxLength: 3 }), { maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(commits, fc.integer({ min: 1, max: 6 }), async (all, historyRows) => {
        const memory = new StateMemory(historyRows)
        const late = await openProcess(memory, {
          through: (store) => ({ ...store, onWake: () => () => undefined }),
          limits: { rowsPerRead: 2 },
        })
        const folded = new Map<string, number>()
        late.settings.onChange((changes) => {
          for (const { key, before, after } of changes) {
            expect(folded.get(key) ?? null).toBe(before?.n ?? null)
            if (after === null) folded.delete(key)
            else folded.set(key, after.n)
          }
        })
        for (const changes of all) {
          memory.commit(changes.map(({ key, value }) => row(value, key)))
        }
        await late.stream.refresh()
        const rows = memory.read().rows.map(({ key, value }) => [key, Number(value)] as const)
        expect(folded).toEqual(new Map(rows))
        expect(late.stream.revision).toBe(all.length)
      }),
      { numRuns: 30 },
    )
  })
})

describe('a row that makes no sense', () => {
  test('prevents the start', async () => {
    const memory = new StateMemory()
    memory.commit([row('not a number')])
    await expect(openProcess(memory)).rejects.toThrow('not a number')
  })

  test.for([
    ['of a table that is read', [row('1', 'b'), row('odd')]],
    ['of a table that this version does not know', [{ ...row('1'), table: 'bans' as 'agents' }]],
  ] as const)('%s ends the process, which decides nothing from then on', async ([, changes]) => {
    const memory = new StateMemory()
    const { stream, set, onFatal } = await openProcess(memory)
    memory.commit(changes)
    await expect(stream.refresh()).rejects.toThrow()
    expect(onFatal).toHaveBeenCalledOnce()
    expect(stream.isFresh()).toBe(false)
    memory.commit([row('1')])
    await expect(stream.refresh()).rejects.toThrow()
    await expect(set('a', 1)).rejects.toThrow()
    expect(onFatal).toHaveBeenCalledOnce()
  })

  test('of a commit that is missing in between ends it as well', async () => {
    const memory = new StateMemory()
    const skipping = (store: StateStore): StateStore => ({
      ...store,
      async changes(after, rowsMax) {
        const answer = await store.changes(after, rowsMax)
        return answer && { ...answer, commits: answer.commits.slice(1) }
      },
    })
    const { stream, onFatal } = await openProcess(memory, { through: skipping })
    memory.commit([row('1')])
    memory.commit([row('2')])
    await expect(stream.refresh()).rejects.toThrow()
    expect(String(onFatal.mock.calls[0]?.[0])).toContain('commit 2 where 1 is due')
  })
})
