import { type AddressInfo, createServer, type Socket } from 'node:net'
import { expect, vi } from 'vitest'
import { type Attempt, attack, newName, worldOfFile } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { type Door, refusalOf, send } from '../harness/doors.ts'
import { exchangeOf } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Transport = 'gateway' | 'mesh'

const bodyBytes = 4 * 1024 * 1024
const large = JSON.stringify('x'.repeat(bodyBytes - 100))
const whole = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}'

/** Answers the first bytes of a request, and reads no further. */
const early = (socket: Socket): void => {
  socket.once('data', () => {
    socket.pause()
    socket.write(whole)
  })
}

/** Takes everything and sends nothing. */
const silent = (socket: Socket): void => void socket.resume()

/** Begins to answer, and never ends. */
const begun = (socket: Socket): void => {
  socket.once('data', () => socket.write(whole.slice(0, -1)))
}

async function receiverIn(world: World, transport: Transport, answer: (socket: Socket) => void) {
  const sockets = new Set<Socket>()
  let behave = (socket: Socket): void => void socket.once('data', () => socket.write(whole))
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    behave(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const name = newName('odd')
  await world.agent(name, ['open'])
  const door = await doorTo(world, transport, { name, url })
  await vi.waitFor(async () => expect((await send(door)).status).toBe(200), deadline)
  behave = answer
  for (const socket of sockets) socket.destroy()
  const close = (): void => {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
  return { door, close }
}

async function doorTo(
  world: World,
  transport: Transport,
  { name, url }: { readonly name: string; readonly url: string },
): Promise<Door> {
  if (transport === 'gateway') {
    await world.admin('route.put', { name, upstream: url })
    return {
      ...world.gateway,
      place: (_: string, path: string) => world.gateway.place(name, path),
    }
  }
  const { meshUrl } = await world.connectors.exposing(name, url)
  const { host, port } = new URL(meshUrl ?? '')
  return {
    ...world.mesh,
    place: (_: string, path: string) =>
      Promise.resolve({ authority: host, port: Number(port), path }),
  }
}

const inWorld = worldOfFile({
  limits: { bodyBytes, upstreamTimeoutMs: 1_500 },
  receivers: ['other'],
})

/** The answer counts: it is whole, and the receiver did not need the rest of the request. */
const asEarly =
  (transport: Transport): Attempt =>
  () =>
    inWorld(async (world) => {
      const { door, close } = await receiverIn(world, transport, early)
      try {
        const heard = await send(door, { body: large })
        expect([null, 'OUTCOME_UNKNOWN']).toContain(refusalOf(heard))
        const last = (await world.explain(exchangeOf(heard))).at(-1)
        expect(['delivered', 'unknown']).toContain(last?.facts['result'])
        expect((await send(world.gateway, { to: 'other' })).status).toBe(200)
      } finally {
        close()
      }
    })

/** At a connector the deadline is that of the constant, so this is asked at the gateway. */
const asSilent =
  (answer: (socket: Socket) => void): Attempt =>
  () =>
    inWorld(async (world) => {
      const { door, close } = await receiverIn(world, 'gateway', answer)
      try {
        const [heard, other] = await Promise.all([send(door), send(world.gateway, { to: 'other' })])
        expect(refusalOf(heard)).toBe('OUTCOME_UNKNOWN')
        expect(other.status).toBe(200)
        const last = (await world.explain(exchangeOf(heard))).at(-1)
        expect(last?.facts).toMatchObject({ result: 'unknown', progress: 'sent' })
      } finally {
        close()
      }
    })

attack(
  verifies(
    ['deliver:unknown-outcome', 'operate:answer-memory'],
    'a receiver that answers too early, or never, holds nothing up',
  ),
  {
    gateway: {
      'before it has read the request': asEarly('gateway'),
      never: asSilent(silent),
      'and never ends': asSilent(begun),
    },
    mesh: { 'before it has read the request': asEarly('mesh') },
    queue: 'the fabric is the receiver',
  },
)
