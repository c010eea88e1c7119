import { type AddressInfo, createServer } from 'node:net'
import { expect, vi } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { type Door, field, refusalOf, send } from '../harness/doors.ts'
import { exchangeOf } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Transport = 'gateway' | 'mesh'

const single = '1\r\n \r\n'
const pieces = 20_000

/** A body of a few kilobytes, each of its bytes a chunk of its own. */
const asRequest =
  (transport: Transport): Attempt =>
  async (world) => {
    const heard = await send(world[transport], {
      body: null,
      edit: (lines) => [...lines, 'Content-Type: application/json', 'Transfer-Encoding: chunked'],
      payload: [single.repeat(pieces), '2\r\n{}\r\n0\r\n\r\n'],
    })
    expect(refusalOf(heard)).toBe('MESSAGE_TOO_LARGE')
    expect(field(heard, 'countersign-limit')).toBe('http.bodyPieces, 16384')
    const few = await send(world[transport], {
      body: null,
      edit: (lines) => [...lines, 'Content-Type: application/json', 'Transfer-Encoding: chunked'],
      payload: [single.repeat(1_000), '2\r\n{}\r\n0\r\n\r\n'],
    })
    expect(few.status).toBe(200)
  }

const opened = new WeakMap<World, Promise<Readonly<Record<Transport, Door>>>>()

function doorsIn(world: World): Promise<Readonly<Record<Transport, Door>>> {
  const known = opened.get(world) ?? open(world)
  opened.set(world, known)
  return known
}

async function open(world: World): Promise<Readonly<Record<Transport, Door>>> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', (head: Buffer) => {
      const count = head.includes('/few') ? 1_000 : pieces
      socket.write('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n')
      socket.write('Transfer-Encoding: chunked\r\n\r\n')
      socket.end(`${single.repeat(count)}2\r\n{}\r\n0\r\n\r\n`)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  server.unref()
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await world.agent('crumbs', ['open'])
  await world.admin('route.put', { name: 'crumbs', upstream: url })
  await world.agent('crumbs-behind', ['open'])
  const { meshUrl } = await world.connectors.exposing('crumbs-behind', url)
  const { host, port } = new URL(meshUrl ?? '')
  const mesh = {
    ...world.mesh,
    place: (_: string, path: string) =>
      Promise.resolve({ authority: host, port: Number(port), path }),
  }
  const gateway = {
    ...world.gateway,
    place: (_: string, path: string) => world.gateway.place('crumbs', path),
  }
  const few = async (door: Door) =>
    vi.waitFor(async () => expect((await send(door, { path: '/few' })).status).toBe(200), deadline)
  await few(gateway)
  await few(mesh)
  return { gateway, mesh }
}

const asAnswer =
  (transport: Transport): Attempt =>
  async (world) => {
    const heard = await send((await doorsIn(world))[transport])
    expect(refusalOf(heard)).toBe('OUTCOME_UNKNOWN')
    expect(field(heard, 'countersign-limit')).toBe('upstream.pieces, 16384')
    const last = (await world.explain(exchangeOf(heard))).at(-1)
    expect(last?.facts).toMatchObject({ result: 'unknown', progress: 'sent' })
  }

const onEach = (transport: Transport): Readonly<Record<string, Attempt>> => ({
  'as a request': asRequest(transport),
  'as an answer': asAnswer(transport),
})

attack(
  verifies(
    ['inspect:bounds@gateway', 'inspect:bounds@mesh', 'operate:fair-streams'],
    'a body in single bytes costs no more than its pieces may',
  ),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'the bodies of requests are those of the gateway',
  },
)
