import { once } from 'node:events'
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type Http2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { openEcho } from '../harness/echo.ts'
import { openStream, streaming } from '../harness/streams.ts'
import { openWorld, type World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** As many streams as the receiver permits on one connection. */
const streamsMax = 3

let world: World
let grpc: Http2Server
const accepted: ServerHttp2Session[] = []
const opened: ClientHttp2Session[] = []
let reached = 0

beforeAll(async () => {
  world = await openWorld({ receivers: ['echo'] })
  await world.agent('neighbour', ['caller'])
  grpc = createServer({ settings: { maxConcurrentStreams: streamsMax } })
  grpc.on('session', (session) => accepted.push(session))
  grpc.on('stream', (stream: ServerHttp2Stream, headers) => {
    reached += 1
    stream.on('error', () => undefined).resume()
    if (headers[':path'] === '/slow') return
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { endStream: true })
  })
  grpc.listen(0, '127.0.0.1')
  await once(grpc, 'listening')
  const upstream = `http://127.0.0.1:${(grpc.address() as AddressInfo).port}`
  const settings = { streams: { permit: 'both' } }
  await world.admin('route.put', { name: 'echo', upstream, protocol: 'http', settings })
})

afterAll(async () => {
  for (const session of [...opened, ...accepted]) session.destroy()
  grpc.close()
  await world.close()
})

async function keyOf(agent: string): Promise<string> {
  return ((await world.admin('key.create', { agent })) as { key: string }).key
}

/** A call with one message, and no end of its own at `/slow`. */
function call(path: string, key: string) {
  const session = connect(world.fabric.origin, { ca: world.fabric.rootPem })
  session.on('error', () => undefined)
  opened.push(session)
  const stream = session.request({
    ':method': 'POST',
    ':path': `/agents/echo${path}`,
    'x-api-key': key,
    'content-type': 'application/grpc',
  })
  stream.on('error', () => undefined).resume()
  const message = Buffer.from([0, 0, 0, 0, 1, 120])
  if (path === '/slow') stream.write(message)
  else stream.end(message)
  return stream
}

describe(verifies(['operate:fair-connections@gateway'], 'streams over HTTP/2'), () => {
  test('that one caller never ends keep no other caller waiting', async () => {
    const [key, other] = [await keyOf('caller'), await keyOf('neighbour')]
    for (let each = 0; each < streamsMax + 2; each++) call('/slow', key)
    await expect.poll(() => reached, deadline).toBe(streamsMax)
    const [head] = (await once(call('/quick', other), 'response')) as [Record<string, unknown>]
    expect(head[':status']).toBe(200)
    expect(reached).toBe(streamsMax + 1)
  })
})

/** All that one endpoint gets, and one more. */
const hoardedCount = 65
/** As many as one caller gets. */
const shareCount = 32

const events = streaming(['data: 1\n\n'], true)

const againstCallers =
  (transport: 'gateway' | 'mesh'): Attempt =>
  async (given) => {
    const neighbour = await given.agent('neighbour', ['caller'])
    const before = given.echo.reached.length
    await given.echo.during(events, async () => {
      const door = given[transport]
      const streams = await Promise.all(
        Array.from({ length: hoardedCount }, () => openStream(door, { path: '/events' })),
      )
      const reached = (): number => given.echo.reached.length - before
      await expect.poll(reached, deadline).toBeGreaterThanOrEqual(shareCount)
      const own = await openStream(door, { path: '/events', as: neighbour.credential() })
      expect(await own.until(/^HTTP/)).toMatch(/^HTTP\/1.1 200/)
      for (const stream of [...streams, own]) stream.close()
    })
  }

/** One agent calls alone by its connector; a receiver that is slow keeps it from no other. */
const againstReceivers: Attempt = async (given) => {
  const slow = await openEcho()
  await given.agent('slow', ['open'])
  await given.admin('route.put', { name: 'slow', upstream: slow.url, protocol: 'http' })
  const { loopbackUrl } = await given.connectors.of('caller')
  const leaving = new AbortController()
  await slow.during(events, async () => {
    for (let each = 0; each < hoardedCount; each++) {
      fetch(`${loopbackUrl}/slow/events`, { signal: leaving.signal }).catch(() => undefined)
    }
    await expect.poll(() => slow.reached.length, deadline).toBeGreaterThanOrEqual(shareCount)
    expect(await fetch(`${loopbackUrl}/other/`)).toMatchObject({ status: 200 })
    leaving.abort()
  })
  await slow.close()
}

attack(verifies(['operate:fair-connections'], 'event streams that one caller never ends'), {
  gateway: { 'keep no other caller waiting': againstCallers('gateway') },
  mesh: {
    'keep no other caller waiting': againstCallers('mesh'),
    'keep no call to another receiver waiting': againstReceivers,
  },
  queue: 'a channel has no connection to a receiver',
})
