import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { expect, vi } from 'vitest'
import { type Attempt, attack, newName } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { type Door, field, refusalOf, send } from '../harness/doors.ts'
import { answering } from '../harness/echo.ts'
import { withLateNews } from '../harness/late-news.ts'
import { watchingPools } from '../harness/pools.ts'
import type { Heard } from '../harness/raw-http.ts'
import { openStream, streaming } from '../harness/streams.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Right = 'administer' | 'call'

const rpc = (method: string, params: object = {}) =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
const result = (value: object) => ({ jsonrpc: '2.0', id: 1, result: value })
const event = (value: object) => `data: ${JSON.stringify(result(value))}\n\n`

/** A receiver at which `boss` may reach tasks of others, and one of these. */
interface Scene {
  readonly world: World
  readonly door: Door
  readonly to: string
  readonly task: string
  as(): ReturnType<World['caller']['credential']>
  /** Takes the right from the supervisor, and nothing else. */
  withdraw(right: Right): Promise<void>
}

async function put(world: World, name: string, text: string): Promise<void> {
  const file = { name: `${name}.cedar`, text }
  expect(await world.admin('policy.put', file)).toMatchObject({ taken: true })
}

const permit = (boss: string, to: string) =>
  `@id("${to}") permit(principal == Agent::"${boss}", action == Action::"administer", resource == Agent::"${to}");`
const forbid = (boss: string, to: string) =>
  `@id("${to}-no") forbid(principal == Agent::"${boss}", action == Action::"call", resource == Agent::"${to}");`

/** A refusal of JSON-RPC has the status 200 as well. */
const expectTaken = (heard: Heard): void =>
  expect([heard.status, refusalOf(heard)]).toEqual([200, null])

async function createTask(world: World, door: Door, to: string): Promise<string> {
  const task = randomUUID()
  const told = { task: { id: task, contextId: randomUUID(), status: { state: 'working' } } }
  const body = rpc('SendMessage', { message: { messageId: '1' } })
  await world.echo.during(answering(result(told)), () =>
    vi.waitFor(async () => expectTaken(await send(door, { to, body })), deadline),
  )
  return task
}

/** A supervisor over a receiver of its own, at whose door both are known. */
async function supervised(
  world: World,
  { door, to }: { readonly door: Door; readonly to: string },
): Promise<Scene> {
  const task = await createTask(world, door, to)
  const boss = newName('boss')
  const identity = await world.agent(boss, ['caller'])
  const as = () => identity.credential()
  await put(world, to, permit(boss, to))
  await vi.waitFor(async () => {
    const heard = await send(door, { to, as: as(), body: rpc('GetTask', { id: task }) })
    expectTaken(heard)
  }, deadline)
  const kept = { administer: '', call: permit(boss, to) + forbid(boss, to) }
  const withdraw = (right: Right) =>
    put(world, to, kept[right] === '' ? permit('nobody-at-all', to) : kept[right])
  return { world, door, to, task, as, withdraw }
}

async function atGateway(world: World): Promise<Scene> {
  const to = newName('watched')
  await world.agent(to, ['open'])
  await world.admin('route.put', { name: to, upstream: world.echo.url, protocol: 'a2a' })
  return supervised(world, { door: world.gateway, to })
}

async function atConnector(world: World): Promise<Scene> {
  const to = newName('watched')
  await world.agent(to, ['open'])
  const connector = await world.connectors.exposing(to, world.echo.url)
  const { host, port } = new URL(connector.meshUrl ?? '')
  const place = (_: string, path: string) =>
    Promise.resolve({ authority: host, port: Number(port), path })
  return supervised(world, { door: { ...world.mesh, place }, to })
}

type Opening = (world: World) => Promise<Scene>

/** As many connections to one receiver as one caller gets. */
const sockets = 32

const busy = rpc('SendMessage', { message: { messageId: 'busy' } })

/** Its own calls hold all that a supervisor gets; its right ends while the next waits for one. */
const queued =
  (open: Opening, right: Right): Attempt =>
  async (world) => {
    const scene = await open(world)
    const { door, to, task, as } = scene
    const held: ServerResponse[] = []
    const given = JSON.stringify(result({}))
    const pending: Promise<unknown>[] = []
    let isOpen = false
    const hold = (response: ServerResponse) => {
      if (isOpen) response.end(given)
      else held.push(response)
    }
    const before = world.echo.reached.length
    const answered = (_: unknown, response: ServerResponse) => hold(response)
    await world.echo.during(answered, () =>
      watchingPools(async (waiting) => {
        for (let at = 0; at < sockets; at++) pending.push(send(door, { to, as: as(), body: busy }))
        await vi.waitFor(() => expect(held.length).toBe(sockets), deadline)
        const asking = send(door, { to, as: as(), body: rpc('CancelTask', { id: task }) })
        await vi.waitFor(() => expect(waiting()).toBe(1), deadline)
        await scene.withdraw(right)
        await untilHeard(scene, pending)
        isOpen = true
        for (const response of held) response.end(given)
        const heard = await asking
        expect(refusalOf(heard)).toBe('WITHDRAWN')
        expect(field(heard, 'countersign-may-have-acted')).toBe('false')
        await Promise.all(pending)
      }),
    )
    const bodies = world.echo.reached.slice(before).map(({ body }) => body.toString())
    expect(bodies.filter((body) => body.includes('CancelTask'))).toEqual([])
  }

/** Asks until a question is refused at once; those before wait for a connection, too. */
async function untilHeard({ door, to, task, as }: Scene, pending: Promise<unknown>[]) {
  let isHeard = false
  const ask = async () => {
    const heard = await send(door, { to, as: as(), body: rpc('GetTask', { id: task }) })
    isHeard ||= ['RECEIVER_UNKNOWN', 'NOT_PERMITTED'].includes(refusalOf(heard) ?? '')
  }
  await vi.waitFor(() => {
    if (!isHeard) pending.push(ask())
    expect(isHeard).toBe(true)
  }, deadline)
}

/**
 * The gateway forwards what it has permitted; the right ends while the connector waits for news.
 */
const forwarded =
  (right: Right): Attempt =>
  async (world) => {
    const to = newName('watched')
    await withLateNews(world, to, async ({ cut, tell }) => {
      const task = await createTask(world, world.gateway, to)
      const boss = newName('boss')
      await put(world, to, permit(boss, to))
      await createTask(world, world.gateway, to)
      const before = world.echo.reached.length
      cut()
      const as = (await world.agent(boss, ['caller'])).credential()
      const asking = send(world.gateway, { to, as, body: rpc('CancelTask', { id: task }) })
      await untilIntended(world, boss)
      const left = permit('nobody-at-all', to)
      await put(world, to, right === 'administer' ? left : permit(boss, to) + forbid(boss, to))
      tell()
      expect(['WITHDRAWN', 'UNDECIDED']).toContain(refusalOf(await asking))
      const bodies = world.echo.reached.slice(before).map(({ body }) => body.toString())
      expect(bodies.filter((body) => body.includes('CancelTask'))).toEqual([])
    })
  }

async function untilIntended(world: World, boss: string): Promise<void> {
  await vi.waitFor(async () => {
    const recent = await world.recorded()
    const own = recent.filter(({ facts }) => String(facts['caller']).endsWith(`/${boss}`))
    expect(own.map(({ kind }) => kind)).toContain('intent')
  }, deadline)
}

/** Nothing flows when the right ends: of the stream of one task, or of one that lists tasks. */
const streamed =
  (open: Opening, right: Right, method: 'SubscribeToTask' | 'ListTasks'): Attempt =>
  async (world) => {
    const scene = await open(world)
    const { door, to, task, as } = scene
    const shown = { id: task, of: 'another' }
    const first = method === 'ListTasks' ? { tasks: [shown] } : { statusUpdate: shown }
    const text = await world.echo.during(streaming([event(first)], true), async () => {
      const stream = await openStream(door, { to, as: as(), body: rpc(method, { id: task }) })
      expect(await stream.until(/another|refusal/)).toContain('another')
      await scene.withdraw(right)
      const heard = await stream.ended()
      stream.close()
      return heard
    })
    expect(text).toContain('"code":"WITHDRAWN"')
    expect(text).toContain('"reason":"policy-denies"')
    const [, exchange = ''] = /countersign-exchange: (\S+)/.exec(text) ?? []
    const closing = (await world.explain(exchange)).at(-1)
    expect(closing?.facts).toMatchObject({ result: 'cut', code: 'WITHDRAWN' })
  }

const onEach = (open: Opening) =>
  Object.fromEntries(
    (['administer', 'call'] as const).flatMap((right): [string, Attempt][] => [
      [`${right} ends while a connection is waited for`, queued(open, right)],
      [`${right} ends in the stream of a task`, streamed(open, right, 'SubscribeToTask')],
      [`${right} ends in a stream of lists`, streamed(open, right, 'ListTasks')],
    ]),
  )

attack(
  verifies(
    ['authorize:every-delivery', 'authorize:task-owner'],
    'the right to tasks of others is decided on again after every wait, as the right to call is',
  ),
  {
    gateway: {
      ...onEach(atGateway),
      'administer ends while the connector waits for news': forwarded('administer'),
      'call ends while the connector waits for news': forwarded('call'),
    },
    mesh: onEach(atConnector),
    queue: 'sealed messages carry no tasks that the fabric could read',
  },
)
