import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Fabric } from '../../packages/fabric/src/compose/compose.ts'
import { deadline } from '../harness/deadline.ts'
import { type Door, refusalOf, send } from '../harness/doors.ts'
import { openStream, streaming } from '../harness/streams.ts'
import { openTestFabric, openWorld, type World } from '../harness/world.ts'

/** Two fabrics on one `state.db`, each with a policy folder and a ledger of its own. */
let world: World
let copy = ''
let one: Replica
let two: Replica

interface Replica {
  readonly fabric: Fabric
  readonly dir: string
  /** Versions of the entries about policies, as they are recorded here. */
  readonly entries: string[]
}

const limits = { requestsPerMinute: 100_000, refusalsPerMinute: 100_000 }

async function open(dir: string): Promise<Replica> {
  const fabric = await openTestFabric(dir, world.clock, limits)
  const entries: string[] = []
  fabric.onEntry(({ facts }) => {
    if (String(facts['event']).startsWith('policies-')) entries.push(String(facts['event']))
  })
  return { fabric, dir, entries }
}

beforeAll(async () => {
  world = await openWorld({ receivers: ['echo'] })
  await world.fabric.close(0)
  copy = `${world.dir}-policies`
  cpSync(world.dir, copy, { recursive: true })
  for (const name of readdirSync(join(copy, 'data'))) {
    if (!name.startsWith('state.db')) continue
    rmSync(join(copy, 'data', name))
  }
  symlinkSync(join(world.dir, 'data', 'state.db'), join(copy, 'data', 'state.db'))
  one = await open(world.dir)
  two = await open(copy)
})
afterAll(async () => {
  for (const { fabric } of [one, two]) await fabric.close(0)
  await world.close()
  rmSync(copy, { recursive: true, force: true })
})

function doorOf({ fabric }: Replica, prefix: string): Door {
  const { host: authority, port } = new URL(fabric.origin)
  return {
    transport: 'gateway',
    credential: () => world.caller.credential(),
    place: (to, path) =>
      Promise.resolve({ authority, port: Number(port), path: `${prefix.replace('*', to)}${path}` }),
  }
}

const call = (replica: Replica) => send(doorOf(replica, '/agents/*'))

async function put(replica: Replica, name: string, text: string): Promise<unknown> {
  const body = JSON.stringify({ operation: 'policy.put', args: { name, text } })
  const as = world.operator.credential()
  const response = await send(doorOf(replica, ''), { path: '/v1/admin', body, as })
  return (JSON.parse(response.body.toString()) as { result: unknown }).result
}

const fileOf = ({ dir }: Replica, name: string): string => join(dir, 'data', 'policies', name)
const read = (replica: Replica, name: string): string | null => {
  const file = fileOf(replica, name)
  return existsSync(file) ? readFileSync(file, 'utf8') : null
}

const forbidden = '@id("closed") forbid(principal == Agent::"caller", action, resource);'

test('a policy that is put on one replica denies at the other, and cuts its streams', async () => {
  expect([(await call(one)).status, (await call(two)).status]).toEqual([200, 200])
  await world.echo.during(streaming(['data: {"a":1}\n\n'], true), async () => {
    const stream = await openStream(doorOf(two, '/agents/*'), {})
    await stream.until(/"a":1/)
    expect(await put(one, 'closed.cedar', forbidden)).toMatchObject({ taken: true })
    expect(refusalOf(await call(one))).toBe('NOT_PERMITTED')
    expect(await stream.ended()).toContain('"code":"WITHDRAWN"')
    stream.close()
  })
  await expect.poll(async () => refusalOf(await call(two)), deadline).toBe('NOT_PERMITTED')
  await expect.poll(() => read(two, 'closed.cedar'), deadline).toBe(forbidden)
  expect([one.entries, two.entries]).toEqual([['policies-changed'], []])
})

test('an edit in the folder of one replica is in force at the other', async () => {
  rmSync(fileOf(two, 'closed.cedar'))
  await expect.poll(async () => (await call(one)).status, deadline).toBe(200)
  await expect.poll(() => read(one, 'closed.cedar'), deadline).toBeNull()
  expect([one.entries, two.entries]).toEqual([['policies-changed'], ['policies-changed']])
})

test('a replica that ended before it wrote its folder writes it at its next start', async () => {
  // Files of this name cannot be made in the folder.
  mkdirSync(fileOf(two, 'late.cedar.new'))
  expect(await put(one, 'late.cedar', forbidden)).toMatchObject({ taken: true })
  await expect.poll(async () => refusalOf(await call(two)), deadline).toBe('NOT_PERMITTED')
  expect(read(two, 'late.cedar')).toBeNull()
  await two.fabric.close(0)
  rmSync(fileOf(two, 'late.cedar.new'), { recursive: true })
  writeFileSync(fileOf(two, 'own.cedar'), '// by hand, on top of the set before')
  two = await open(copy)
  expect(read(two, 'late.cedar')).toBe(forbidden)
  expect(refusalOf(await call(two))).toBe('NOT_PERMITTED')
  const [kept, ...others] = readdirSync(join(copy, 'data', 'policies')).filter((name) =>
    name.startsWith('own.cedar'),
  )
  expect([kept, others]).toEqual([expect.stringContaining('own.cedar.conflict-'), []])
  expect(await put(two, 'late.cedar', '')).toMatchObject({ taken: true })
  await expect.poll(async () => (await call(one)).status, deadline).toBe(200)
})
