import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { ShiftedClock } from '../../../../test/harness/clock.ts'
import { cutOffState } from '../../../../test/harness/cut-off-state.ts'
import { deadline } from '../../../../test/harness/deadline.ts'
import { memoryStateStore, StateMemory } from '../adapters/memory/state-store.ts'
import { Refusal } from '../lib/refusal.ts'
import type { StateStore } from '../state/state-store.ts'
import { StateStream } from '../state/state-stream.ts'
import type { CedarPolicy } from './cedar-json.ts'
import type { PolicyParser } from './parser.ts'
import type { PolicyChange } from './policy-change.ts'
import { openPolicyModule, type PolicyModuleOptions } from './policy-module.ts'

const all = { op: 'All' }

/** Knows the effects that it is given and nothing else, as an older version knows less. */
const parserOf = (effects: readonly string[]): PolicyParser => ({
  parse: async (_, texts) =>
    texts.map((text) => {
      const effect = text.replace(';', '').trim() as CedarPolicy['effect']
      if (!effects.includes(effect)) {
        return { policy: null, faults: [{ start: 0, message: 'nonsense', help: '' }], warnings: [] }
      }
      const policy = { effect, principal: all, action: all, resource: all, conditions: [] }
      return { policy, faults: [], warnings: [] }
    }),
})

let root: string
let memory: StateMemory
const closers: (() => unknown)[] = []

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'policy-replicas-'))
  memory = new StateMemory()
})
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
  await rm(root, { recursive: true })
})

interface ReplicaOptions extends Partial<PolicyModuleOptions> {
  readonly through?: (store: StateStore) => StateStore
}

/** One fabric's policies, with a folder of its own. */
async function openReplica(name: string, { through, ...options }: ReplicaOptions = {}) {
  const clock = new ShiftedClock()
  const own = memoryStateStore(memory)
  const state = await StateStream.open({
    ...{ store: through?.(own) ?? own, clock, onFatal: () => undefined },
    limits: { readMs: 100, commitMs: 100 },
  })
  const recorded: PolicyChange[] = []
  const kept: PolicyChange[] = []
  const conflicts: (readonly [string, string | null])[] = []
  const faults: string[] = []
  const dir = join(root, name)
  await mkdir(dir, { recursive: true })
  const policies = await openPolicyModule({
    ...{ state, clock, dir, marker: `${dir}.json`, parser: parserOf(['permit', 'forbid']) },
    claim: () => () => undefined,
    ...{ dataClasses: [], watch: false, onRepaired: () => undefined },
    record: async (change) => {
      recorded.push(change)
      return null
    },
    recordKept: async (change) => {
      kept.push(change)
      return null
    },
    onRejected: (error) => faults.push(String(error)),
    onUnmirrored: (error) => faults.push(String(error)),
    onConflict: (file, keptAs) => conflicts.push([file, keptAs]),
    ...options,
  })
  let isOpen = true
  const close = async () => {
    if (isOpen) await policies.close()
    if (isOpen) await state.close()
    isOpen = false
  }
  closers.push(close)
  return {
    ...{ policies, state, clock, dir, recorded, kept, conflicts, faults, close },
    put: (file: string, text: string) => policies.put({ name: file, text, exchange: 'exc_1' }),
    edit: (file: string, text: string) => writeFile(join(dir, file), text),
    read: (file: string) => readFile(join(dir, file), 'utf8').catch(() => null),
    files: async () => (await readdir(dir)).toSorted(),
    /** `name text` of the set that decides. */
    decides: () => policies.decisive().sources.map(({ name: file, text }) => `${file} ${text}`),
  }
}

describe('a change of the policies in one process', () => {
  test('decides in the other one, is mirrored there, and is on record once', async () => {
    const [one, two] = [await openReplica('one'), await openReplica('two')]
    const changed = vi.fn<() => void>()
    two.policies.onChange(changed)
    await one.put('a.cedar', 'forbid;')
    expect(one.decides()).toEqual(['a.cedar forbid;'])
    await expect.poll(two.decides, deadline).toEqual(['a.cedar forbid;'])
    expect(changed).toHaveBeenCalledOnce()
    await expect.poll(() => two.read('a.cedar'), deadline).toBe('forbid;')
    expect(one.recorded).toEqual([
      { version: two.policies.current.version, files: ['a.cedar'], changedBy: ['exc_1'] },
    ])
    expect([two.recorded, one.kept, two.conflicts]).toEqual([[], [], []])
  })

  test('may be an edit in the folder of either, and the removal of a file', async () => {
    const [one, two] = [await openReplica('one'), await openReplica('two')]
    await one.edit('a.cedar', 'permit;')
    await one.edit('b.cedar', 'forbid;')
    await one.policies.reload()
    await expect.poll(two.files, deadline).toEqual(['a.cedar', 'b.cedar'])
    await rm(join(two.dir, 'b.cedar'))
    await two.policies.reload()
    await expect.poll(one.files, deadline).toEqual(['a.cedar'])
    expect(one.decides()).toEqual(['a.cedar permit;'])
    expect(two.recorded).toMatchObject([{ files: ['b.cedar'], changedBy: ['files'] }])
    expect([one.conflicts, two.conflicts]).toEqual([[], []])
  })

  test('gives a process that starts later its policies, whatever is in its folder', async () => {
    const one = await openReplica('one')
    await one.put('a.cedar', 'permit;')
    await mkdir(join(root, 'two'))
    await writeFile(join(root, 'two', 'a.cedar'), 'forbid;')
    const install = vi.fn<() => Promise<void>>()
    const two = await openReplica('two', { install })
    expect(install).not.toHaveBeenCalled()
    expect(two.decides()).toEqual(['a.cedar permit;'])
    expect(two.conflicts).toEqual([['a.cedar', expect.stringMatching(/^a\.cedar\.conflict-/)]])
    expect(await two.read(two.conflicts[0]?.[1] ?? '')).toBe('forbid;')
    expect(one.decides()).toEqual(['a.cedar permit;'])
  })
})

describe('of two changes at once', () => {
  test('one is taken, and the other one is rejected with what to do', async () => {
    const [one, two] = [await openReplica('one'), await openReplica('two')]
    const results = await Promise.allSettled([
      one.put('a.cedar', 'permit;'),
      two.put('b.cedar', 'forbid;'),
    ])
    const lost = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
    expect(lost).toEqual([expect.objectContaining({ name: 'Error' })])
    expect(String(lost[0])).toContain('changed meanwhile')
    expect(String(lost[0])).toContain('countersign policy show')
    await expect.poll(() => [one.decides(), two.decides()], deadline).toSatisfy(isSamePair)
    expect(one.decides()).toHaveLength(1)
    // The loser can make its change again.
    await two.put('b.cedar', 'forbid;')
    await one.put('a.cedar', 'permit;').catch(() => one.put('a.cedar', 'permit;'))
    await expect.poll(two.decides, deadline).toEqual(['a.cedar permit;', 'b.cedar forbid;'])
  })

  test('the entry of one that is lost after it was recorded is corrected', async () => {
    const one = await openReplica('one')
    const two = await openReplica('two', {
      record: async () => {
        await one.put('a.cedar', 'permit;')
        return null
      },
    })
    await expect(two.put('b.cedar', 'forbid;')).rejects.toThrow('changed meanwhile')
    expect(two.kept).toEqual([
      { version: one.policies.current.version, files: ['b.cedar'], changedBy: ['exc_1'] },
    ])
    await expect.poll(two.decides, deadline).toEqual(['a.cedar permit;'])
    await expect.poll(two.files, deadline).toEqual(['a.cedar'])
  })

  test('an edit that is lost is kept aside, and its file is that of the set', async () => {
    const [one, two] = [await openReplica('one'), await openReplica('two')]
    await one.put('a.cedar', 'permit;')
    await expect.poll(two.files, deadline).toEqual(['a.cedar'])
    await two.edit('a.cedar', '// by hand')
    await one.put('a.cedar', 'forbid;')
    await expect.poll(() => two.conflicts, deadline).toHaveLength(1)
    const [[file, keptAs] = ['', '']] = two.conflicts
    expect([file, await two.read(file)]).toEqual(['a.cedar', 'forbid;'])
    expect(await two.read(keptAs ?? '')).toBe('// by hand')
    await two.policies.reload()
    expect(two.decides()).toEqual(['a.cedar forbid;'])
  })

  test('an edit of the file that a put replaces while its entry is written is kept', async () => {
    const one = await openReplica('one', {
      record: async () => {
        await writeFile(join(root, 'one', 'a.cedar'), '// by hand')
        await writeFile(join(root, 'one', 'b.cedar'), 'permit;')
        return null
      },
    })
    await one.put('a.cedar', 'forbid;')
    expect(await one.read('a.cedar')).toBe('forbid;')
    expect(await one.read(one.conflicts[0]?.[1] ?? '')).toBe('// by hand')
    // An edit of another file is one on top of the set that was put.
    await one.policies.reload()
    expect(one.decides()).toEqual(['a.cedar forbid;', 'b.cedar permit;'])
  })
})

const isSamePair = ([a, b]: readonly (readonly string[])[]): boolean => a?.join() === b?.join()

describe('a set that another process committed', () => {
  test('and that does not compile here ends all decisions, until it is replaced [authorize:one-set]', async () => {
    const one = await openReplica('one')
    const old = await openReplica('two', { parser: parserOf(['permit']) })
    await one.put('a.cedar', 'permit;')
    await expect.poll(old.decides, deadline).toEqual(['a.cedar permit;'])
    const undecided = vi.fn<() => void>()
    old.policies.onUndecided(undecided)
    await one.put('b.cedar', 'forbid;')
    await expect.poll(() => old.policies.fault(), deadline).toContain('do not compile here')
    expect(old.decides).toThrow('bring this fabric to the version')
    expect(undecided).toHaveBeenCalledOnce()
    expect(old.faults).toEqual([expect.stringContaining('b.cedar:1:1')])
    // A start would not get further.
    await expect(openReplica('three', { parser: parserOf(['permit']) })).rejects.toThrow('b.cedar')
    await one.put('b.cedar', 'permit;')
    await expect.poll(old.decides, deadline).toEqual(['a.cedar permit;', 'b.cedar permit;'])
    expect(old.policies.fault()).toBeNull()
  })

  test('decides nothing until it is compiled, once that takes too long', async () => {
    const one = await openReplica('one')
    const { promise: compiled, resolve } = Promise.withResolvers<void>()
    const parser = parserOf(['permit', 'forbid'])
    const slow = await openReplica('two', {
      parser: { parse: (...args) => compiled.then(() => parser.parse(...args)) },
    })
    await one.put('a.cedar', 'permit;')
    await slow.state.refresh()
    expect(slow.decides()).toEqual([])
    slow.clock.advance(5_001)
    expect(slow.decides).toThrow('not compiled within 5000 ms')
    expect(slow.policies.current.sources).toEqual([])
    resolve()
    await expect.poll(() => slow.policies.fault(), deadline).toBeNull()
    expect(slow.decides()).toEqual(['a.cedar permit;'])
  })
})

describe('a folder', () => {
  test('that a crash left behind the state is written at the next start', async () => {
    const [one, two] = [await openReplica('one'), await openReplica('two')]
    await one.put('a.cedar', 'permit;')
    await expect.poll(two.files, deadline).toEqual(['a.cedar'])
    await two.close()
    await one.put('a.cedar', 'forbid;')
    await one.put('b.cedar', 'permit;')
    // Half of the set was written when the process ended.
    await two.edit('b.cedar', 'permit;')
    await writeFile(join(two.dir, 'a.cedar.replaced'), 'permit;')
    const again = await openReplica('two')
    expect(again.decides()).toEqual(['a.cedar forbid;', 'b.cedar permit;'])
    expect(await again.files()).toEqual(['a.cedar', 'b.cedar'])
    expect(await again.read('a.cedar')).toBe('forbid;')
    expect([again.conflicts, again.recorded]).toEqual([[], []])
  })

  test('that was edited while no process ran is a change, recorded before it is committed', async () => {
    const one = await openReplica('one')
    await one.put('a.cedar', 'permit;')
    await one.close()
    await one.edit('a.cedar', 'forbid;')
    const full = new Refusal('LEDGER_UNAVAILABLE', 'the disk is full', 1000)
    const record = () => Promise.resolve(full)
    await expect(openReplica('one', { record })).rejects.toThrow('the disk is full')
    const again = await openReplica('one')
    expect(again.decides()).toEqual(['a.cedar forbid;'])
    expect(again.recorded).toMatchObject([{ files: ['a.cedar'], changedBy: ['files'] }])
  })

  test('that was edited below a newer set loses, and the edits are kept aside', async () => {
    const [one, two] = [await openReplica('one'), await openReplica('two')]
    await one.put('a.cedar', 'permit;')
    await one.put('b.cedar', 'permit;')
    await expect.poll(two.files, deadline).toEqual(['a.cedar', 'b.cedar'])
    await two.policies.reload()
    await two.close()
    await one.put('c.cedar', 'forbid;')
    await two.edit('a.cedar', '// by hand')
    await rm(join(two.dir, 'b.cedar'))
    const again = await openReplica('two')
    expect(again.decides()).toEqual(one.decides())
    expect(await again.files()).toEqual([
      ...['a.cedar', expect.stringContaining('a.cedar.conflict-'), 'b.cedar', 'c.cedar'],
    ])
    expect(again.conflicts).toContainEqual(['b.cedar', null])
    expect(again.recorded).toEqual([])
  })

  test('that is missing is written again, and is not taken for a set without policies', async () => {
    const one = await openReplica('one')
    await one.put('a.cedar', 'forbid;')
    await rm(one.dir, { recursive: true })
    await one.policies.reload()
    expect([await one.files(), one.decides()]).toEqual([['a.cedar'], ['a.cedar forbid;']])
  })

  test('that cannot be written keeps no set from taking force', async () => {
    const [one, two] = [await openReplica('one'), await openReplica('two')]
    // Even for a user who may write to every folder.
    await mkdir(join(two.dir, 'a.cedar.new'))
    await one.put('a.cedar', 'permit;')
    await expect.poll(two.decides, deadline).toEqual(['a.cedar permit;'])
    await expect.poll(() => two.faults, deadline).toHaveLength(1)
    await two.put('a.cedar', 'forbid;')
    expect(two.decides()).toEqual(['a.cedar forbid;'])
    await rm(join(two.dir, 'a.cedar.new'), { recursive: true })
    await two.policies.reload()
    expect(await two.read('a.cedar')).toBe('forbid;')
  })
})

const step = fc.record({
  kind: fc.constantFrom('put', 'put at both', 'edit', 'remove', 'restart'),
  at: fc.constantFrom('one', 'two'),
  file: fc.constantFrom('a.cedar', 'b.cedar'),
})

test('all decide by one set in the end, which each folder holds, and no edit is lost [property]', async () => {
  let run = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 9 }), async (steps) => {
      memory = new StateMemory()
      run += 1
      const open = {
        one: await openReplica(`${run}/one`),
        two: await openReplica(`${run}/two`),
      }
      const committed = new Set<string>()
      const watch = ({ policies }: Awaited<ReturnType<typeof openReplica>>) =>
        policies.onChange(() => {
          for (const { text } of policies.current.sources) committed.add(text)
        })
      const edits = new Map<string, string>()
      for (const replica of Object.values(open)) watch(replica)
      for (const [n, { kind, at, file }] of steps.entries()) {
        const text = `// ${n}`
        if (kind === 'put') await open[at].put(file, text).catch(() => undefined)
        else if (kind === 'put at both') {
          const puts = Object.values(open).map((replica) => replica.put(file, `${text} of many`))
          await Promise.allSettled(puts)
        } else if (kind === 'edit') {
          await open[at].edit(file, text)
          edits.set(`${at} ${file}`, text)
        } else if (kind === 'remove') await rm(join(open[at].dir, file), { force: true })
        else {
          await open[at].close()
          open[at] = await openReplica(`${run}/${at}`)
          watch(open[at])
        }
        // An edit that is removed by hand is gone.
        if (kind === 'remove') edits.delete(`${at} ${file}`)
      }
      const all = Object.values(open)
      const states = async () => {
        await Promise.all(all.map(({ policies }) => policies.reload().catch(() => undefined)))
        return Promise.all(
          all.map(async ({ decides, files, read }) => {
            const present = (await files()).filter((name) => name.endsWith('.cedar'))
            const folder = await Promise.all(
              present.map(async (name) => `${name} ${await read(name)}`),
            )
            return [decides(), folder]
          }),
        )
      }
      const isOne = (found: Awaited<ReturnType<typeof states>>) =>
        new Set(found.flat().map((each) => each.join('\n'))).size === 1
      await expect.poll(states, deadline).toSatisfy(isOne)
      for (const { dir, files, close } of all) {
        await close()
        for (const name of await files()) committed.add(await readFile(join(dir, name), 'utf8'))
      }
      expect([...edits.values()].filter((text) => !committed.has(text))).toEqual([])
    }),
    { numRuns: 12 },
  )
})

describe('processes that share a folder', () => {
  /** The lock of the folder, as the operating system keeps it. */
  function shared() {
    let isHeld = false
    const claim = () => {
      if (isHeld) return null
      isHeld = true
      return () => {
        isHeld = false
      }
    }
    const dir = join(root, 'shared')
    return { claim, dir, marker: `${dir}.json` }
  }

  test('write it in turn: one of them, and another one when that has ended', async () => {
    const folder = shared()
    await mkdir(folder.dir)
    const [one, two] = [await openReplica('one', folder), await openReplica('two', folder)]
    const files = async () => (await readdir(folder.dir)).toSorted()
    await two.put('a.cedar', 'permit;')
    await expect.poll(files, deadline).toEqual(['a.cedar'])
    await writeFile(join(folder.dir, 'b.cedar'), 'forbid;')
    // Another process is to read it.
    await two.policies.reload()
    expect(two.decides()).toEqual(['a.cedar permit;'])
    await one.close()
    await two.policies.reload()
    expect(two.decides()).toEqual(['a.cedar permit;', 'b.cedar forbid;'])
    expect(two.recorded).toMatchObject([{ files: ['a.cedar'] }, { files: ['b.cedar'] }])
    expect([one.conflicts, two.conflicts]).toEqual([[], []])
  })

  test('take no file that one of them writes for an edit', async () => {
    const folder = { ...shared(), watch: true }
    await mkdir(folder.dir)
    const all = [await openReplica('one', folder), await openReplica('two', folder)]
    const taken: string[] = []
    for (let n = 0; n < 20; n += 1) {
      const puts = all.map(({ put }) => put('a.cedar', n % 2 === 0 ? 'permit;' : 'forbid;'))
      for (const { status } of await Promise.allSettled(puts)) taken.push(status)
      await Promise.all(all.map(({ policies }) => policies.reload()))
    }
    expect(taken.filter((status) => status === 'fulfilled').length).toBeGreaterThanOrEqual(20)
    for (const { decides, conflicts, recorded } of all) {
      await expect.poll(decides, deadline).toEqual(['a.cedar forbid;'])
      expect(conflicts).toEqual([])
      expect(recorded.filter(({ changedBy }) => changedBy.includes('files'))).toEqual([])
    }
  })

  test('wait for the first set of the one that has the folder', async () => {
    const two = openReplica('two', { claim: () => null })
    await (await openReplica('one')).put('a.cedar', 'permit;')
    await expect.poll((await two).decides, deadline).toEqual(['a.cedar permit;'])
  })
})

describe('a commit without an answer', () => {
  test('that was lost never takes effect, and its entry is corrected', async () => {
    let isLost = false
    const lossy = (store: StateStore): StateStore => ({
      ...store,
      commit: (changes) => (isLost ? new Promise(() => undefined) : store.commit(changes)),
    })
    const one = await openReplica('one', { through: lossy })
    const before = one.policies.current.version
    isLost = true
    await expect(one.put('a.cedar', 'permit;')).rejects.toThrow('has not answered')
    expect(one.kept).toEqual([])
    isLost = false
    await one.policies.reload()
    expect(one.kept).toMatchObject([{ version: before, files: ['a.cedar'] }])
    expect(one.recorded).toHaveLength(1)
    expect(one.decides()).toEqual([])
    await one.put('a.cedar', 'permit;')
    expect(one.decides()).toEqual(['a.cedar permit;'])
    expect(one.kept).toHaveLength(1)
  })

  test('that was carried out is the change', async () => {
    const silent = (store: StateStore): StateStore => ({
      ...store,
      async commit(changes) {
        const revision = await store.commit(changes)
        return changes.some(({ key }) => key === 'a.cedar')
          ? new Promise(() => undefined)
          : revision
      },
    })
    const one = await openReplica('one', { through: silent })
    await one.put('a.cedar', 'permit;')
    expect(one.decides()).toEqual(['a.cedar permit;'])
    expect(await one.files()).toEqual(['a.cedar'])
    expect(one.kept).toEqual([])
  })

  test('records nothing while the state cannot be read', async () => {
    const cut = cutOffState(memoryStateStore(memory))
    const one = await openReplica('one', { through: () => cut.store })
    cut.network = 'failing'
    await expect(one.put('a.cedar', 'permit;')).rejects.toThrow('not read')
    expect(one.recorded).toEqual([])
    cut.network = 'up'
    await one.put('a.cedar', 'permit;')
    expect(one.recorded).toHaveLength(1)
  })
})
