import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { CedarPolicy } from './cedar-json.ts'
import { PoliciesRejected } from './compile-policies.ts'
import type { PolicyParser } from './parser.ts'
import type { PolicySet } from './policy.ts'
import { type OpenPolicyModule, openPolicyModule } from './policy-module.ts'

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

let parent: string
let dir: string
let deps: OpenPolicyModule | null
let rejections: unknown[]
/** The version in force at each repair. */
let repairs: string[]

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'policy-room-'))
  dir = join(parent, 'policies')
  await mkdir(dir)
  deps = null
  rejections = []
  repairs = []
})

afterEach(async () => {
  deps?.close()
  await rm(parent, { recursive: true })
})

async function open(watch: boolean): Promise<OpenPolicyModule> {
  const onRejected = (error: unknown) => rejections.push(error)
  const onRepaired = ({ version }: PolicySet) => repairs.push(version)
  deps = await openPolicyModule({ dir, parser, dataClasses: [], watch, onRejected, onRepaired })
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

describe('the policy room', () => {
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

  test('listeners hear of a new set once, after it took force, and not of none', async () => {
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
    deps = await openPolicyModule({
      dir,
      parser: busy,
      dataClasses: [],
      watch: false,
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
  await deps?.check([{ name: 'many.cedar', text: 'permit;\n'.repeat(2_000) }])
  isOpen = true
  expect(opening).toBeGreaterThan(2_000 / 32)
  expect(turns - opening).toBeGreaterThan(2_000 / 64)
})
