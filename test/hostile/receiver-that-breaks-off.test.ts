import { expect, vi } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { answersWell, BREAKINGS, type Breaker, openBreaker } from '../harness/breaker.ts'
import { deadline } from '../harness/deadline.ts'
import { type Draft, refusalOf, send } from '../harness/doors.ts'
import { type Heard, talk } from '../harness/raw-http.ts'
import { exchangeOf } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** One broken receiver, and the paths over which it is called. */
interface Broken {
  readonly breaker: Breaker
  readonly asks: Readonly<Record<Path, (draft: Draft) => Promise<Heard>>>
}

type Path = 'gateway' | 'gateway and connector' | 'connector' | 'both connectors'

const opened = new WeakMap<World, Promise<Broken>>()

function brokenIn(world: World): Promise<Broken> {
  const known = opened.get(world)
  if (known !== undefined) return known
  const opening = open(world)
  opened.set(world, opening)
  return opening
}

async function open(world: World): Promise<Broken> {
  const breaker = await openBreaker()
  await world.agent('broken', ['open'])
  await world.admin('route.put', { name: 'broken', upstream: breaker.url })
  await world.agent('broken-behind', ['open'])
  const { meshUrl } = await world.connectors.exposing('broken-behind', breaker.url)
  const { host, port } = new URL(meshUrl ?? '')
  const direct = {
    ...world.mesh,
    place: (_: string, path: string) =>
      Promise.resolve({ authority: host, port: Number(port), path }),
  }
  const asks = {
    gateway: (draft: Draft) => send(world.gateway, { ...draft, to: 'broken' }),
    'gateway and connector': (draft: Draft) =>
      send(world.gateway, { ...draft, to: 'broken-behind' }),
    connector: (draft: Draft) => send(direct, draft),
    'both connectors': (draft: Draft) => throughLoopback(world, draft),
  }
  // State travels to connectors by a long poll: until then the receiver or its route is unknown.
  for (const ask of Object.values(asks)) {
    await vi.waitFor(async () => expect((await ask({})).status).toBe(200), deadline)
  }
  return { breaker, asks }
}

async function throughLoopback(world: World, { method = 'POST' }: Draft): Promise<Heard> {
  const { port, authority, path } = await world.connectors.loopback('caller', 'broken-behind', '/')
  const body = method === 'GET' ? '' : '{"pay":10}'
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `Host: ${authority}`,
    ...(body === '' ? [] : ['Content-Type: application/json', `Content-Length: ${body.length}`]),
  ]
  const bytes = `${lines.join('\r\n')}\r\n\r\n${body}`
  const [heard] = await talk({ port, credential: null }, [bytes])
  if (heard === undefined) throw new Error('the connector hung up')
  return heard
}

const get = { method: 'GET', body: null } as const

async function expectUnknown(world: World, heard: Heard, path: Path): Promise<void> {
  expect(refusalOf(heard)).toBe('OUTCOME_UNKNOWN')
  expect(heard.status).toBe(504)
  expect(JSON.parse(heard.body.toString())).toMatchObject({
    code: 'OUTCOME_UNKNOWN',
    retry: false,
    mayHaveActed: true,
  })
  const entries = await world.explain(exchangeOf(heard))
  // The statement of the receiver's connector is recorded by the caller's, under an exchange of its
  // own.
  const isStated = path === 'both connectors'
  expect(entries.map(({ kind }) => kind)).toEqual(
    isStated ? ['refusal'] : ['intent', 'indeterminate'],
  )
  expect(entries.at(-1)?.facts).toMatchObject({
    result: 'unknown',
    ...(isStated ? {} : { progress: 'sent' }),
  })
}

/** On a new connection, and on one that has carried a request before. */
const asPayment =
  (path: Path, way: string): Attempt =>
  async (world) => {
    const { breaker, asks } = await brokenIn(world)
    const breaking = BREAKINGS[way] ?? answersWell
    const [fresh, once] = await breaker.during([breaking], () => asks[path]({}))
    await expectUnknown(world, fresh, path)
    expect(once).toBe(1)
    const [reused, twice] = await breaker.during([answersWell, breaking], async () => {
      expect((await asks[path]({})).status).toBe(200)
      return asks[path]({})
    })
    await expectUnknown(world, reused, path)
    expect(twice).toBe(2)
  }

/** Nothing came back on a connection that was used before: a safe method is sent once more. */
const asReading =
  (path: Path, way: string): Attempt =>
  async (world) => {
    const { breaker, asks } = await brokenIn(world)
    const breaking = BREAKINGS[way] ?? answersWell
    const [fresh, once] = await breaker.during([breaking], () => asks[path](get))
    await expectUnknown(world, fresh, path)
    expect(once).toBe(1)
    const isSilent = /^(?:closes|resets) after the whole request$/.test(way)
    const [reused, count] = await breaker.during([answersWell, breaking], async () => {
      expect((await asks[path](get)).status).toBe(200)
      return asks[path](get)
    })
    if (!isSilent) {
      await expectUnknown(world, reused, path)
      expect(count).toBe(2)
      return
    }
    expect(reused.status).toBe(200)
    expect(count).toBe(3)
    // And never a third time.
    const [thrice, all] = await breaker.during([answersWell, breaking, breaking], async () => {
      expect((await asks[path](get)).status).toBe(200)
      return asks[path](get)
    })
    await expectUnknown(world, thrice, path)
    expect(all).toBe(3)
  }

const each = (path: Path): Readonly<Record<string, Attempt>> =>
  Object.fromEntries([
    ...Object.keys(BREAKINGS).map((way) => [`${path}, POST: ${way}`, asPayment(path, way)]),
    ...['closes after the whole request', 'resets after the whole request', 'sends no HTTP'].map(
      (way) => [`${path}, GET: ${way}`, asReading(path, way)],
    ),
  ])

attack(
  verifies(
    ['deliver:unknown-outcome', 'deliver:no-silent-repeat'],
    'a receiver that acts and breaks off is reported as unknown, and never asked twice',
  ),
  {
    gateway: { ...each('gateway'), ...each('gateway and connector') },
    mesh: { ...each('connector'), ...each('both connectors') },
    queue: 'the fabric is the receiver: tested by lost-response',
  },
)
