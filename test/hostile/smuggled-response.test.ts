import type { AddressInfo } from 'node:net'
import { createServer, type Socket } from 'node:net'
import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { refusalOf, send } from '../harness/doors.ts'
import { exchangeOf } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const hidden =
  'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"b":2} '
const head = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'

/** Bytes in place of an HTTP response, with which a second answer might be slipped in. */
const answers: Readonly<Record<string, string>> = {
  'a length and chunks': `${head}Content-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`,
  'two lengths': `${head}Content-Length: 7\r\nContent-Length: 0\r\n\r\n{"a":1}`,
  'a bare line feed': `${head}X-A: b\nContent-Length: 0\r\n\r\n${hidden}`,
  'a broken chunk': `${head}Transfer-Encoding: chunked\r\n\r\n0x7\r\n{"a":1}\r\n0\r\n\r\n`,
  'a body that stops short': `${head}Content-Length: 70\r\n\r\n{"a":1}`,
  'no HTTP at all': 'SSH-2.0-OpenSSH_9.6\r\n',
  'a head without end': `${head}X-A: ${'a'.repeat(100_000)}\r\n\r\n`,
}

async function inWorld(world: World, bytes: string): Promise<void> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('data', () => socket.end(bytes))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const upstream = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await world.agent('crooked', ['open'])
  await world.admin('route.put', { name: 'crooked', upstream })
  try {
    const heard = await send(world.gateway, { to: 'crooked' })
    // It is unknown whether the receiver acted, and the record states exactly that.
    expect(refusalOf(heard)).toBe('OUTCOME_UNKNOWN')
    const entries = await world.explain(exchangeOf(heard))
    expect(entries.map(({ kind }) => kind)).toEqual(['intent', 'indeterminate'])
    expect(heard.body.toString()).not.toMatch(/"[ab]":/)
  } finally {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
}

attack(
  verifies(
    ['deliver:rebuilt', 'inspect:response', 'operate:fail-closed@gateway'],
    'a response inside a response does not reach any caller',
  ),
  {
    gateway: Object.fromEntries(
      Object.entries(answers).map(([way, bytes]) => [way, (world: World) => inWorld(world, bytes)]),
    ),
    mesh: 'a connector reads its agent’s answers with the same client',
    queue: 'nothing is asked of a receiver',
  },
)
