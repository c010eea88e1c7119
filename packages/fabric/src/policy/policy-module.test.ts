import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { memoryStateStore } from '../adapters/memory/state-store.ts'
import { systemClock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import { StateStream } from '../state/state-stream.ts'
import type { CedarPolicy } from './cedar-json.ts'
import { PoliciesRejected } from './compile-policies.ts'
import type { PolicyParser } from './parser.ts'
import type { PolicySet } from './policy.ts'
import type { PolicyChange, RecordPolicyChange } from './policy-change.ts'
import {
  type OpenPolicyModule,
  openPolicyModule,
  type PolicyModuleOptions,
} from './policy-module.ts'

const all = { op: 'All' }

/** Knows two policies and nothing else; `permit;` and `forbid;` stand for them. */
const parser: PolicyParser = {
  parse: async (_, texts) =>
    texts.map((text) => {
      const effect = text.replace(';', '').trim()
      if (effect !== 'permit' && effect !== 'forbid') {
        return { policy: null, faults: [{ start: 0, message: 'nonsense', help: '' }], warnings: [] }
      }
      const policy: CedarPolicy = {
        effect,
        principal: all,
        action: all,
        resource: all,
        conditions: [],
      }
      return { policy, faults: [], warnings: [] }
    }),
}

const states: StateStream[] = []
let parent: string
let dir: string
let deps: OpenPolicyModule | null
let rejections: unknown[]
/** The version in force at each repair. */
let repairs: string[]
let recorded: PolicyChange[]
/** Replaced by tests of a ledger that fails, or that the process does not survive. */
let record: RecordPolicyChange

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'policy-module-'))
  dir = join(parent, 'policies')
  await mkdir(dir)
  deps = null
  rejections = []
  repairs = []
  recorded = []
  record = (change) => {
    recorded.push(change)
    return Promise.resolve(null)
  }
})

afterEach(async () => {
  await deps?.close()
  for (const state of states.splice(0)) await state.close()
  await rm(parent, { recursive: true })
})

type FolderOptions = Omit<
  PolicyModuleOptions,
  'state' | 'clock' | 'marker' | 'claim' | 'recordKept' | 'onConflict' | 'onUnmirrored'
>

/** The module alone on its state, as the first process of a fabric. */
async function openOnNewState(options: FolderOptions): Promise<OpenPolicyModule> {
  const store = memoryStateStore()
  const state = await StateStream.open({ store, clock: systemClock, onFatal: () => undefined })
  states.push(state)
  return openPolicyModule({
    ...{ ...options, state, clock: systemClock, marker: `${options.dir}.mirror` },
    claim: () => () => undefined,
    recordKept: () => Promise.resolve(null),
    onConflict: () => undefined,
    onUnmirrored: () => undefined,
  })
}

async function open(watch: boolean): Promise<OpenPolicyModule> {
  const onRejected = (error: unknown) => rejections.push(error)
  const onRepaired = ({ version }: PolicySet) => repairs.push(version)
  deps = await openOnNewState({
    ...{ dir, parser, dataClasses: [], watch, onRejected, onRepaired },
    record: (change) => record(change),
  })
  return deps
}

function effectOf({ current }: OpenPolicyModule): string {
  const nobody = { name: 'a', roles: [], segment: '', attributes: {} }
  return current.decide({
    principal: { kind: 'agent', ...nobody },
    action: 'call',
    resource: { kind: 'agent', ...nobody },
    context: {
      transport: 'mesh',
      protocol: 'http',
      operation: 'GET',
      tool: '',
      method: 'certificate',
      signed: false,
      risk: 0,
      labels: [],
      time: 0,
    },
  }).effect
}

describe('the policy module', () => {
  test('an empty folder and a missing one deny everything', async () => {
    expect(effectOf(await open(false))).toBe('deny')
    await rm(dir, { recursive: true })
    expect(effectOf(await open(false))).toBe('deny')
  })

  test('an invalid folder does not open [authorize:no-policy]', async () => {
    await writeFile(join(dir, 'a.cedar'), 'nonsense;')
    await expect(open(false)).rejects.toThrow(PoliciesRejected)
    await writeFile(join(dir, 'a.cedar'), new Uint8Array([0xff, 0xfe]))
    await expect(open(false)).rejects.toThrow('UTF-8')
  })

  test('files that are not policies are left alone', async () => {
    await writeFile(join(dir, 'a.cedar'), 'permit;')
    await writeFile(join(dir, 'b.cedar.bak'), 'nonsense')
    const opened = await open(false)
    expect(opened.policySources()).toEqual([{ name: 'a.cedar', text: 'permit;' }])
    expect(effectOf(opened)).toBe('permit')
  })

  test('one bad file keeps the whole old set in force [authorize:reload]', async () => {
    await writeFile(join(dir, 'a.cedar'), 'permit;')
    const opened = await open(false)
    const before = opened.current
    await writeFile(join(dir, 'b.cedar'), 'forbid;')
    await writeFile(join(dir, 'c.cedar'), 'forbid;\nnonsense;')
    await expect(opened.reload()).rejects.toMatchObject({
      problems: [{ file: 'c.cedar', line: 2 }],
    })
    expect(opened.current).toBe(before)
    await rm(join(dir, 'c.cedar'))
    await opened.reload()
    expect(effectOf(opened)).toBe('deny')
  })

  test('listeners receive a new set once, after it took force, and nothing without one', async () => {
    const opened = await open(false)
    const heard: string[] = []
    const stop = opened.onChange((set) =>
      heard.push(`${set === opened.current} ${effectOf(opened)}`),
    )
    await opened.reload()
    await writeFile(join(dir, 'a.cedar'), 'permit;')
    await Promise.all([opened.reload(), opened.reload()])
    expect(heard).toEqual(['true permit'])
    stop()
    await writeFile(join(dir, 'b.cedar'), 'forbid;')
    await opened.reload()
    expect(heard).toHaveLength(1)
  })

  test('a folder that keeps changing while it is read is not taken', async () => {
    let n = 0
    const busy: PolicyParser = {
      parse: async (schema, texts) => {
        await writeFile(join(dir, 'b.cedar'), `permit; // ${n++}`)
        return parser.parse(schema, texts)
      },
    }
    deps = await openOnNewState({
      dir,
      parser: busy,
      dataClasses: [],
      watch: false,
      record: () => Promise.resolve(null),
      onRejected: () => {},
      onRepaired: () => {},
    })
    await writeFile(join(dir, 'a.cedar'), 'permit;')
    await expect(deps.reload()).rejects.toThrow('changed during')
    expect(effectOf(deps)).toBe('deny')
  })

  test('a watched folder takes force by itself, and a bad one is reported once', async () => {
    const opened = await open(true)
    await writeFile(join(parent, 'next'), 'permit;')
    await rename(join(parent, 'next'), join(dir, 'a.cedar'))
    await expect.poll(() => effectOf(opened)).toBe('permit')
    await writeFile(join(dir, 'b.cedar'), 'nonsense;')
    await expect.poll(() => rejections).toHaveLength(1)
    expect(effectOf(opened)).toBe('permit')
    await writeFile(join(dir, 'c.txt'), 'touches the folder')
    await writeFile(join(dir, 'b.cedar'), 'forbid;')
    await expect.poll(() => effectOf(opened)).toBe('deny')
    expect(rejections).toHaveLength(1)
    await expect.poll(() => repairs).toEqual([opened.current.version])
  })
})

const put = { name: 'a.cedar', text: 'permit;', exchange: 'exc_1' }
const full = new Refusal('LEDGER_UNAVAILABLE', 'the disk is full', 1000)

describe('a change of the policies is on record before it takes effect [record:policies]', () => {
  /** A copy of the folder as a crash in that moment leaves it, opened again. */
  async function afterCrash(): Promise<OpenPolicyModule> {
    const copy = await mkdtemp(join(parent, 'crash-'))
    await cp(dir, copy, { recursive: true })
    const unused = () => undefined
    return openOnNewState({
      ...{ dir: copy, parser, dataClasses: [], watch: false, onRejected: unused },
      ...{ onRepaired: unused, record: () => Promise.resolve(null) },
    })
  }

  test('of a put: while its entry is written, nothing has changed, nor after a crash', async () => {
    const opened = await open(false)
    const before = opened.current
    const states: unknown[] = []
    record = async ({ version, ...change }) => {
      states.push([opened.current === before, effectOf(await afterCrash()), change])
      recorded.push({ version, ...change })
      return null
    }
    const set = await opened.put(put)
    expect(states).toEqual([[true, 'deny', { files: ['a.cedar'], changedBy: ['exc_1'] }]])
    expect(set).toBe(opened.current)
    expect(recorded.map(({ version }) => version)).toEqual([opened.current.version])
    expect(effectOf(opened)).toBe('permit')
    expect(effectOf(await afterCrash())).toBe('permit')
  })

  test('of a put that cannot be recorded, nothing is left, and its client gets the refusal', async () => {
    await writeFile(join(dir, 'a.cedar'), 'forbid;')
    const opened = await open(false)
    const before = opened.current
    const heard: unknown[] = []
    opened.onChange((set) => heard.push(set))
    record = () => Promise.resolve(full)
    expect(await opened.put(put)).toBe(full)
    record = () => Promise.reject(new Error('the ledger stopped for good'))
    await expect(opened.put(put)).rejects.toThrow('stopped for good')
    expect(opened.current).toBe(before)
    expect(heard).toEqual([])
    expect(await readdir(dir)).toEqual(['a.cedar'])
    expect(await readFile(join(dir, 'a.cedar'), 'utf8')).toBe('forbid;')
    // Nor does a later reading of the folder find it.
    expect(await opened.reload()).toBe(before)
  })

  test('of a file: the old set decides until the change can be recorded', async () => {
    const opened = await open(true)
    const before = opened.current
    let ledger: Refusal | null = full
    record = (change) => {
      recorded.push(change)
      return Promise.resolve(ledger)
    }
    await writeFile(join(parent, 'next'), 'permit;')
    await rename(join(parent, 'next'), join(dir, 'a.cedar'))
    await expect.poll(() => rejections).toEqual([expect.objectContaining({})])
    expect(String(rejections[0])).toContain('the disk is full')
    expect(opened.current).toBe(before)
    await expect(opened.reload()).rejects.toThrow('not on record')
    expect(effectOf(opened)).toBe('deny')
    ledger = null
    await opened.reload()
    expect(effectOf(opened)).toBe('permit')
    expect(recorded.at(-1)).toEqual({
      ...{ version: opened.current.version, files: ['a.cedar'], changedBy: ['files'] },
    })
  })

  test('also where a put and a file change together, in one entry that names both', async () => {
    const opened = await open(false)
    await writeFile(join(dir, 'b.cedar'), 'permit;')
    await opened.put(put)
    await opened.reload()
    expect(recorded).toEqual([
      {
        version: opened.current.version,
        files: ['a.cedar', 'b.cedar'],
        changedBy: ['exc_1', 'files'],
      },
    ])
  })

  test('and a put that changes nothing has no entry, and repairs its file', async () => {
    await writeFile(join(dir, 'a.cedar'), 'permit;')
    const opened = await open(false)
    await writeFile(join(dir, 'a.cedar'), new Uint8Array([0xff, 0xfe]))
    await opened.put(put)
    expect(recorded).toEqual([])
    expect(await readFile(join(dir, 'a.cedar'), 'utf8')).toBe('permit;')
  })
})

test('puts run one after the other, also behind one that failed', async () => {
  const opened = await open(false)
  const first = opened.put({ ...put, text: 'nonsense;' })
  const second = opened.put({ ...put, name: 'b.cedar' })
  const third = opened.put({ ...put, name: 'c.cedar', exchange: 'exc_2' })
  await expect(first).rejects.toThrow(PoliciesRejected)
  await Promise.all([second, third])
  expect(recorded.map(({ files, changedBy }) => [...files, ...changedBy])).toEqual([
    ['b.cedar', 'exc_1'],
    ['c.cedar', 'exc_2'],
  ])
})

test('a put text is in force as its file holds it, so that the folder brings no second change', async () => {
  const opened = await open(false)
  await opened.put({ ...put, text: 'permit;\n// \ud800' })
  expect(await opened.reload()).toBe(opened.current)
  expect(recorded).toHaveLength(1)
})

test('thousands of policies are compiled in turns with other work', async () => {
  await writeFile(join(dir, 'many.cedar'), 'permit;\n'.repeat(2_000))
  let turns = 0
  let isOpen = false
  const count = () => {
    turns += 1
    if (!isOpen) setImmediate(count)
  }
  setImmediate(count)
  await open(false)
  const opening = turns
  await deps?.put({ name: 'more.cedar', text: 'permit;\n'.repeat(2_000), exchange: 'exc_1' })
  isOpen = true
  expect(opening).toBeGreaterThan(2_000 / 32)
  expect(turns - opening).toBeGreaterThan(2_000 / 64)
})
