import type { Socket } from 'node:net'
import { expect } from 'vitest'
import { atOnce, attack } from '../harness/attack.ts'
import { field, refusalOf, send } from '../harness/doors.ts'
import { dial, type Heard, parseHeard } from '../harness/raw-http.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** Sends these bytes, then one more each second, and gives the answer that ends the connection. */
async function dribble(socket: Socket, bytes: string): Promise<Heard> {
  const chunks: Buffer[] = []
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  const timer = setInterval(() => socket.write('a'), 1_000)
  socket.write(bytes)
  await new Promise<void>((resolve) => socket.once('end', resolve).once('close', () => resolve()))
  clearInterval(timer)
  socket.destroy()
  const heard = parseHeard(Buffer.concat(chunks), true)
  if (heard === null) throw new Error('the peer hung up without an answer')
  return heard
}

const head = (authority: string): string => `GET / HTTP/1.1\r\nHost: ${authority}\r\nX-A: `

/** A neighbour is answered while the listener waits. */
async function headIsRefused(world: World, credential: 'own' | 'none'): Promise<void> {
  const door = credential === 'own' ? world.mesh : world.gateway
  const { port, authority } = await door.place('echo', '/')
  const shown = credential === 'own' ? world.caller.credential() : undefined
  const socket = await dial({ port, credential: shown })
  const [heard, neighbour] = await Promise.all([dribble(socket, head(authority)), send(door)])
  expect([heard.status, refusalOf(heard)]).toEqual([408, 'MESSAGE_MALFORMED'])
  expect(field(heard, 'countersign-limit')).toBe('http.headMs, 10 s')
  expect(neighbour.status).toBe(200)
}

/** A body without a credential has ten seconds, however steadily its bytes come. */
async function bodyIsRefused(world: World): Promise<void> {
  const { port, authority } = await world.control.place('echo', '/oauth/token')
  const form = 'application/x-www-form-urlencoded'
  const lines = ['POST /oauth/token HTTP/1.1', `Host: ${authority}`, `Content-Type: ${form}`]
  const socket = await dial({ port, credential: undefined })
  const request = `${[...lines, 'Content-Length: 1000'].join('\r\n')}\r\n\r\ngrant_type=`
  const [heard, neighbour] = await Promise.all([dribble(socket, request), send(world.gateway)])
  expect(heard.status).toBe(503)
  expect(field(heard, 'countersign-limit')).toBe('http.bodyMs, 10 s')
  expect(neighbour.status).toBe(200)
}

/** Each takes ten seconds of waiting. */
const slow = atOnce({
  headAtGateway: (world) => headIsRefused(world, 'none'),
  headAtMesh: (world) => headIsRefused(world, 'own'),
  bodyAtGateway: bodyIsRefused,
})

attack(
  verifies(
    ['operate:slow-requests'],
    'a request that never becomes whole is refused with the limit, and keeps no other client waiting',
  ),
  {
    gateway: { head: slow.headAtGateway, body: slow.bodyAtGateway },
    mesh: { head: slow.headAtMesh },
    queue: 'members come in by the gateway',
  },
)
