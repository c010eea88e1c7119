import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, expect, vi } from 'vitest'
import { type Attempt, attack, worldOfFile } from '../harness/attack.ts'
import { type Breaking, openBreaker } from '../harness/breaker.ts'
import { deadline } from '../harness/deadline.ts'
import { type Draft, refusalOf, send } from '../harness/doors.ts'
import { type Heard, talk } from '../harness/raw-http.ts'
import { exchangeOf } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const timeouts = { tryMs: 1_000 }
const resending = { timeouts, retries: { resend: true, attempts: 3 } }
const inWorld = worldOfFile({
  receivers: [],
  routes: { failing: resending, 'failing-behind': resending, strict: { timeouts } },
})

const paths = ['gateway', 'gateway and connector', 'both connectors'] as const
type Path = (typeof paths)[number]

/** Each of them has the whole request, and gives no response that helps its caller. */
const failures: Readonly<Record<string, Breaking>> = {
  'accepts and never answers': () => undefined,
  'resets after the request': (socket, whole) => whole.then(() => socket.resetAndDestroy()),
  'resets after the first byte': (socket, whole) =>
    whole.then(() => socket.write('H', () => socket.resetAndDestroy())),
  'asks to come back': (socket, whole) =>
    whole.then(() =>
      socket.write('HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n'),
    ),
  'sends its head byte by byte': (socket, whole) =>
    whole.then(() => {
      socket.write('HTTP/1.1 200 OK\r\nX-Slow: ')
      const timer = setInterval(() => socket.write('.'), 50)
      socket.once('close', () => clearInterval(timer))
    }),
}

async function open(world: World) {
  const breaker = await openBreaker()
  await world.agent('failing', ['open'])
  await world.admin('route.put', { name: 'failing', upstream: breaker.url, protocol: 'http' })
  await world.agent('failing-behind', ['open'])
  await world.connectors.exposing('failing-behind', breaker.url)
  const asks: Readonly<Record<Path, (draft: Draft) => Promise<Heard>>> = {
    gateway: (draft) => send(world.gateway, { ...draft, to: 'failing' }),
    'gateway and connector': (draft) => send(world.gateway, { ...draft, to: 'failing-behind' }),
    'both connectors': (draft) => throughLoopback(world, 'failing-behind', draft),
  }
  // State travels to connectors by a long poll: until then the receiver or its route is unknown.
  for (const ask of Object.values(asks)) {
    await vi.waitFor(async () => expect((await ask({})).status).toBe(200), deadline)
  }
  return { breaker, asks }
}

async function throughLoopback(world: World, to: string, draft: Draft): Promise<Heard> {
  const { method = 'POST', headers = [] } = draft
  const { port, authority, path } = await world.connectors.loopback('caller', to, '/')
  const body = method === 'POST' ? '{"pay":10}' : ''
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `Host: ${authority}`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
    ...(body === '' ? [] : ['Content-Type: application/json', `Content-Length: ${body.length}`]),
  ]
  const [heard] = await talk({ port, credential: null }, [`${lines.join('\r\n')}\r\n\r\n${body}`])
  if (heard === undefined) throw new Error('the connector hung up')
  return heard
}

let opened: ReturnType<typeof open> | null = null
afterAll(async () => (await opened)?.breaker.close())

function withReceiver(attempt: (parts: Awaited<ReturnType<typeof open>>, world: World) => unknown) {
  return () =>
    inWorld(async (world) => {
      opened ??= open(world)
      await attempt(await opened, world)
    })
}

const get = { method: 'GET', body: null } as const

/** The route permits the repeat of what is idempotent, and of nothing else. */
const failingOnce = (path: Path, failure: Breaking): Attempt =>
  withReceiver(async ({ breaker, asks }, world) => {
    const [paid, copies] = await breaker.during([failure], () => asks[path]({}))
    expect(copies).toBe(1)
    expect(paid.status).not.toBe(200)
    const [read, all] = await breaker.during([failure], () => asks[path](get))
    expect([read.status, all]).toEqual([200, 2])
    if (path === 'both connectors') return
    const entries = await world.explain(exchangeOf(read))
    expect(entries.at(-1)?.facts).toMatchObject({ attempts: 2 })
  })

/** As many copies as the route permits, however many hops there are. */
const failingAlways = (path: Path): Attempt =>
  withReceiver(async ({ breaker, asks }) => {
    const reset: Breaking = (socket, whole) => whole.then(() => socket.resetAndDestroy())
    const [read, copies] = await breaker.during(Array<Breaking>(12).fill(reset), () =>
      asks[path](get),
    )
    expect(refusalOf(read)).toBe('OUTCOME_UNKNOWN')
    expect(copies).toBe(3)
  })

/** A receiver that never answers, for a caller that has no time. */
const shortOfTime = (path: Path): Attempt =>
  withReceiver(async (_, world) => {
    const heads: IncomingMessage['headers'][] = []
    const silent = createServer(({ headers }) => void heads.push(headers))
    await once(silent.listen(0, '127.0.0.1'), 'listening')
    const upstream = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`
    const name = `silent-${paths.indexOf(path)}`
    await world.agent(name, ['open'])
    if (path === 'gateway') await world.admin('route.put', { name, upstream, protocol: 'http' })
    else await world.connectors.exposing(name, upstream)
    const within = (time: string): Promise<Heard> => {
      const draft = { headers: [['Countersign-Timeout', time]], to: name } as const
      const isLoopback = path === 'both connectors'
      return isLoopback ? throughLoopback(world, name, draft) : send(world.gateway, draft)
    }
    await vi.waitFor(async () => {
      expect(refusalOf(await within('700'))).toBe('OUTCOME_UNKNOWN')
      expect(heads.length).toBeGreaterThan(0)
    }, deadline)
    for (const head of heads) expect(Number(head['countersign-timeout'])).toBeLessThanOrEqual(700)
    const before = heads.length
    expect(refusalOf(await within('0'))).toBe('RECEIVER_UNREACHABLE')
    for (const time of ['-1', '1.5', '007', '1e9', '100000000', '5s', '']) {
      expect(refusalOf(await within(time))).toBe('MESSAGE_MALFORMED')
    }
    expect(heads).toHaveLength(before)
    silent.closeAllConnections()
    silent.close()
  })

const of = (path: Path): Readonly<Record<string, Attempt>> => ({
  ...Object.fromEntries(
    // Those that take a timeout are over the same code with a connector behind the gateway.
    Object.entries(failures)
      .filter(([way]) => path !== 'gateway and connector' || !/never|byte by byte/.test(way))
      .map(([way, failure]) => [`${path}: ${way}`, failingOnce(path, failure)]),
  ),
  [`${path}: fails for ever`]: failingAlways(path),
  [`${path}: has a caller without time`]: shortOfTime(path),
})

attack(
  verifies(
    ['deliver:no-silent-repeat', 'deliver:unknown-outcome'],
    'a receiver that fails is asked again only for what changes nothing, and as often as permitted',
  ),
  {
    gateway: { ...of('gateway'), ...of('gateway and connector') },
    mesh: of('both connectors'),
    queue: 'the fabric is the receiver: leases and attempts are its own',
  },
)
