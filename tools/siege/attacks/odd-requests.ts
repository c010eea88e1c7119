import type { Socket } from 'node:net'
import { type Attack, dial, expectEnd, expectStatus } from '../attack.ts'

const requests = [
  'CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
  'POST /v1/enroll HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
  `GET / HTTP/1.1\r\nX-A: ${'a'.repeat(40_000)}\r\n\r\n`,
  'NOT HTTP\r\n\r\n',
]

/** Bytes that no parser takes, and requests that only a proxy would serve. */
export const attack: Attack = {
  name: 'odd requests',
  async round(target) {
    const sockets: Socket[] = []
    for (const request of requests) {
      const socket = await dial(target)
      expectStatus(target, socket, 400, 404, 413, 421, 429, 431)
      expectEnd(target, socket)
      socket.write(request)
      sockets.push(socket)
      await target.pause(100)
    }
    await target.pause(2_000)
    for (const socket of sockets) socket.destroy()
  },
}
