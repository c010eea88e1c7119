import { randomUUID } from 'node:crypto'
import { cpSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Fabric } from '../../packages/fabric/src/compose/compose.ts'
import { deadline } from '../harness/deadline.ts'
import { type Door, type Draft, refusalOf, send } from '../harness/doors.ts'
import { answering } from '../harness/echo.ts'
import { openStream, streaming } from '../harness/streams.ts'
import { openTestFabric, openWorld, type World } from '../harness/world.ts'

/**
 * Two fabrics that share the records and nothing else that changes: the second one runs on a copy
 * of the first one's data folder, with the same keys, agents and policies.
 */
interface Replicas {
  readonly world: World
  readonly one: Door
  readonly two: Door
  close(): Promise<void>
}

const limits = { requestsPerMinute: 100_000, refusalsPerMinute: 100_000 }

async function openReplicas(): Promise<Replicas> {
  const world = await openWorld({ receivers: ['a2a', 'mcp', 'echo'] })
  await world.agent('thief', ['caller'])
  // Created before the restart below.
  const before = await create(world.gateway, world, 'a2a')
  const session = await sessionOf(world.gateway, world)
  await world.fabric.close(0)
  const copy = `${world.dir}-copy`
  cpSync(world.dir, copy, { recursive: true })
  rmSync(join(copy, 'data', 'records.db'))
  symlinkSync(join(world.dir, 'data', 'records.db'), join(copy, 'data', 'records.db'))
  const fabrics = [
    await openTestFabric(world.dir, world.clock, limits),
    await openTestFabric(copy, world.clock, limits),
  ] as const
  const [one, two] = fabrics.map((fabric) => doorOf(fabric, world)) as [Door, Door]
  earlier = { task: before, session }
  return {
    ...{ world, one, two },
    async close() {
      for (const fabric of fabrics) await fabric.close(0)
      await world.close()
      rmSync(copy, { recursive: true, force: true })
    },
  }
}

function doorOf({ origin }: Fabric, { caller }: World): Door {
  const { host: authority, port } = new URL(origin)
  return {
    transport: 'gateway',
    credential: () => caller.credential(),
    place: (to, path) =>
      Promise.resolve({ authority, port: Number(port), path: `/agents/${to}${path}` }),
  }
}

const rpc = (method: string, params: object = {}): string =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
const result = (value: object) => ({ jsonrpc: '2.0', id: 1, result: value })
const working = { state: 'TASK_STATE_WORKING' }

/** Creates a task as the caller of the world, which the receiver calls `id`. */
async function create(
  door: Door,
  world: World,
  to: string,
  id: string = randomUUID(),
  as?: Draft['as'],
): Promise<string> {
  const body = rpc('SendMessage', { message: { messageId: '1' } })
  const draft = { to, body, ...(as === undefined ? {} : { as }) }
  const heard = await world.echo.during(answering(result({ task: { id, status: working } })), () =>
    send(door, draft),
  )
  expect(heard.status).toBe(200)
  return id
}

async function sessionOf(door: Door, world: World): Promise<string> {
  const id = randomUUID()
  const heard = await world.echo.during(answering({}, { 'mcp-session-id': id }), () =>
    send(door, { to: 'mcp', body: rpc('initialize') }),
  )
  expect(heard.headers.get('mcp-session-id')).toEqual([id])
  return id
}

const reading = (task: string): Draft => ({ to: 'a2a', body: rpc('GetTask', { id: task }) })
const inSession = (session: string, draft: Draft = {}): Draft => ({
  ...{ to: 'mcp', body: rpc('ping'), headers: [['Mcp-Session-Id', session]], ...draft },
})

let replicas: Replicas
let earlier: { readonly task: string; readonly session: string }
beforeAll(async () => {
  replicas = await openReplicas()
})
afterAll(() => replicas.close())

/** The owner reaches its receiver, and a thief is refused and does not. */
async function expectOwned(door: Door, draft: Draft): Promise<void> {
  const { world } = replicas
  const owner = await world.echo.during(answering(result({})), () => send(door, draft))
  expect(refusalOf(owner)).toBeNull()
  expect(owner.status).toBe(200)
  const thief = await world.agent('thief')
  const before = world.echo.reached.length
  const heard = await send(door, { ...draft, as: thief.credential() })
  expect(refusalOf(heard)).toBe('RECEIVER_UNKNOWN')
  expect(world.echo.reached.slice(before)).toEqual([])
}

describe('owners on two replicas', () => {
  test('a task of before a restart is its owner’s, on each replica', async () => {
    await expectOwned(replicas.one, reading(earlier.task))
    await expectOwned(replicas.two, reading(earlier.task))
  })

  test('a session of before a restart is its owner’s, on each replica', async () => {
    await expectOwned(replicas.one, inSession(earlier.session))
    await expectOwned(replicas.two, inSession(earlier.session))
  })

  test('a task that was just created through one replica is its owner’s through the other', async () => {
    const { world, one, two } = replicas
    await expectOwned(two, reading(await create(one, world, 'a2a')))
    await expectOwned(one, reading(await create(two, world, 'a2a')))
  })

  test('a session that was just opened through one replica is its owner’s through the other', async () => {
    const { world, one, two } = replicas
    await expectOwned(two, inSession(await sessionOf(one, world)))
  })

  test('a stream is resumed through the other replica, by its owner alone', async () => {
    const { world, one, two } = replicas
    const id = randomUUID()
    const stream = { to: 'mcp', method: 'GET', body: null } as const
    await world.echo.during(streaming([`id: ${id}\ndata: {"a":1}\n\n`]), async () =>
      (await openStream(one, stream)).ended(),
    )
    await expectOwned(two, { ...stream, headers: [['Last-Event-ID', id]] })
  })

  test('a list shows its owner the tasks of both replicas, and no other caller', async () => {
    const { world, one, two } = replicas
    const ids = [await create(one, world, 'a2a'), await create(two, world, 'a2a')]
    const page = result({ tasks: ids.map((id) => ({ id, status: working })) })
    const listed = async (as?: Draft['as']): Promise<readonly string[]> => {
      const draft = { to: 'a2a', body: rpc('ListTasks'), ...(as === undefined ? {} : { as }) }
      const heard = await world.echo.during(answering(page), () => send(two, draft))
      const shown = JSON.parse(heard.body.toString()) as { result: { tasks: { id: string }[] } }
      return shown.result.tasks.map(({ id }) => id)
    }
    expect(await listed()).toEqual(ids)
    expect(await listed((await world.agent('thief')).credential())).toEqual([])
  })

  test('an id of the other replica is recognized in any place of a message', async () => {
    const { world, one, two } = replicas
    const task = await create(one, world, 'a2a')
    const thief = await world.agent('thief')
    const body = rpc('SendMessage', { message: { parts: [{ text: `see ${task} there` }] } })
    await expect
      .poll(
        async () =>
          world.echo.during(answering(result({})), async () =>
            refusalOf(await send(two, { to: 'a2a', body, as: thief.credential() })),
          ),
        deadline,
      )
      .toBe('RECEIVER_UNKNOWN')
  })

  test('a session that ended through one replica is not usable through the other', async () => {
    const { world, one, two } = replicas
    const session = await sessionOf(one, world)
    await expectOwned(two, inSession(session))
    const end = inSession(session, { method: 'DELETE', body: null })
    await world.echo.during(answering({}), () => send(one, end))
    expect(refusalOf(await send(one, inSession(session)))).toBe('RECEIVER_UNKNOWN')
    await expect
      .poll(
        async () =>
          world.echo.during(answering(result({})), async () =>
            refusalOf(await send(two, inSession(session))),
          ),
        deadline,
      )
      .toBe('RECEIVER_UNKNOWN')
  })

  test('of two callers whose answers create one id on both replicas, one owns it on both', async () => {
    const { world, one, two } = replicas
    const thief = (await world.agent('thief')).credential()
    const id = randomUUID()
    const answer = answering(result({ task: { id, status: working } }))
    const draft = { to: 'a2a', body: rpc('SendMessage', { message: { messageId: '1' } }) }
    await world.echo.during(answer, () =>
      Promise.all([send(one, draft), send(two, { ...draft, as: thief })]),
    )
    const reach = (door: Door, as?: Draft['as']) =>
      world.echo.during(answering(result({})), async () =>
        refusalOf(await send(door, { ...reading(id), ...(as === undefined ? {} : { as }) })),
      )
    const own = [await reach(one), await reach(two)]
    const others = [await reach(one, thief), await reach(two, thief)]
    expect(own[0]).toBe(own[1])
    expect(others[0]).toBe(others[1])
    expect(new Set([own[0], others[0]])).toEqual(new Set(['RECEIVER_UNKNOWN', null]))
  })

  test('a task of another replica that a second caller claims stays with the first', async () => {
    const { world, one, two } = replicas
    const thief = (await world.agent('thief')).credential()
    const task = await create(one, world, 'a2a')
    await create(two, world, 'a2a', task, thief)
    await expectOwned(two, reading(task))
    await expectOwned(one, reading(task))
  })
})
