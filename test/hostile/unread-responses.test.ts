import type { EventEmitter } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { openAgent } from '@countersign/sdk'
import { expect } from 'vitest'
import { type Attempt, atOnce, attack, worldOfFile } from '../harness/attack.ts'
import { agentId, bytesOf, type Draft, type Place } from '../harness/doors.ts'
import type { Answering } from '../harness/echo.ts'
import { forwardedBody, forwarding, forwardKeyOf } from '../harness/forwarding.ts'
import { dial, pemOf } from '../harness/raw-http.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const mebibyte = 1024 * 1024
const pipelined = 200

/**
 * Requests that a connection may have sent to its receiver at most, when it reads nothing: the
 * amount that the kernels hold.
 */
const answeredMax = 40

const large: Answering = (_, response) => {
  const body = JSON.stringify('x'.repeat(mebibyte - 2))
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length })
  response.end(body)
}

/** A world of this file: its clients are given up on sooner than those of the others. */
const limits = { bodyBytes: 4 * mebibyte, responseStallMs: 1_000 }
const inOwnWorld = worldOfFile({ limits, receivers: ['echo'] })

/** Unlike `once`, it does not reject on the error that comes before. */
function closeOf(of: EventEmitter): Promise<void> {
  return new Promise((resolve) => of.once('close', () => resolve()))
}

/** Sends all requests at once and reads nothing; resolves when the peer has hung up. */
async function leaveUnread(socket: Socket, requests: readonly (string | Uint8Array)[]) {
  socket.pause()
  socket.on('error', () => undefined)
  const closed = closeOf(socket)
  socket.write(Buffer.concat(requests.map((each) => Buffer.from(each))))
  // A peer that reads nothing learns of a reset only by writing.
  const timer = setInterval(() => socket.write('\r\n'), 100)
  await closed
  clearInterval(timer)
}

/** The path names the owner of the request. */
const inHttp1 =
  (
    path: string,
    placeOf: (world: World, path: string) => Promise<Place>,
    isPlain = false,
  ): Attempt =>
  async (world) => {
    const place = await placeOf(world, path)
    const credential = isPlain ? null : world.caller.credential()
    const draft: Draft = { body: '{}' }
    const socket = await dial({ port: place.port, credential })
    await leaveUnread(socket, Array.from({ length: pipelined }, () => bytesOf(draft, place)).flat())
    const answered = world.echo.reached.filter(({ url }) => url === path).length
    expect(answered).toBeGreaterThan(0)
    expect(answered).toBeLessThan(answeredMax)
  }

/** Every stream is reset, although the client never opens its window. */
const inHttp2: Attempt = async (world) => {
  const { port, authority, path } = await world.gateway.place('echo', '/http2')
  const session = connectHttp2(`https://${authority}`, {
    ...pemOf(world.caller.credential()),
    port,
    rejectUnauthorized: false,
    settings: { initialWindowSize: 0 },
  })
  session.on('error', () => undefined)
  const codes = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const stream = session.request({
        ':path': path,
        ':method': 'POST',
        'content-type': 'application/json',
      })
      stream.on('error', () => undefined)
      stream.end('{}')
      await closeOf(stream)
      return stream.rstCode
    }),
  )
  // ENHANCE_YOUR_CALM, or REFUSED_STREAM for those that came when the connection was full.
  expect(codes.filter((code) => code !== 11 && code !== 7)).toEqual([])
  expect(codes).toContain(11)
  session.destroy()
  await expect.poll(() => world.fabric.unsentBytes()).toBe(0)
}

/** An agent that serves by the SDK, called by a peer that is permitted to and reads nothing. */
const served: Attempt = async (world) => {
  await world.agent('serving', ['open'])
  const agent = await openAgent({ dir: join(world.dir, 'serving'), clock: world.clock })
  let calls = 0
  const { signing } = world.caller
  const listening = await agent.serve(
    () => {
      calls += 1
      return new Response('x'.repeat(mebibyte), { headers: { 'content-type': 'text/plain' } })
    },
    {
      responseStallMs: 1_000,
      expose: null,
      findKey: forwardKeyOf(world.caller),
    },
  )
  const { port } = listening
  const place = { port, authority: `127.0.0.1:${port}`, path: '/' }
  const requests = Array.from({ length: pipelined }, () => {
    const headers = forwarding(world.caller, { keyId: signing.keyId, from: agentId('caller') })
    return bytesOf({ body: forwardedBody, headers }, place)
  })
  await leaveUnread(await dial({ port, credential: world.caller.credential() }), requests.flat())
  expect(calls).toBeGreaterThan(0)
  expect(calls).toBeLessThan(answeredMax)
  await agent.close()
}

const scenes = atOnce({
  http1: inHttp1('/http1', (world, path) => world.gateway.place('echo', path)),
  http2: inHttp2,
  callee: inHttp1('/callee', (world, path) => world.mesh.place('echo', path)),
  caller: inHttp1(
    '/caller',
    (world, path) => world.connectors.loopback('caller', 'echo', path),
    true,
  ),
  served,
})

const ends =
  (name: keyof typeof scenes): Attempt =>
  () =>
    inOwnWorld(async (world) => {
      // As long as any of them goes on.
      const all = () => Promise.allSettled(Object.values(scenes).map((each) => each(world)))
      await world.echo.during(large, all)
      await scenes[name](world)
    })

attack(
  verifies(
    ['serve:unread@gateway', 'serve:unread@mesh'],
    'a client that reads no response is answered no further, and let go',
  ),
  {
    gateway: {
      'over HTTP/1.1': ends('http1'),
      'over HTTP/2': ends('http2'),
    },
    mesh: {
      'at the connector of the callee': ends('callee'),
      'at the connector of the caller': ends('caller'),
      'at an agent that serves by the SDK': ends('served'),
    },
    queue: 'members come in by the gateway',
  },
)
