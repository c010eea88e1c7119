import { connect as connectHttp2 } from 'node:http2'
import { expect, vi } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { dial } from '../harness/raw-http.ts'
import { verifies } from '../requirements.ts'

const attempts = 50

/** Everything that this process writes to its log while `scene` runs. */
async function logOf(scene: () => Promise<void>): Promise<readonly string[]> {
  const lines: string[] = []
  const keep = (...parts: readonly unknown[]): boolean => {
    lines.push(String(parts[0]))
    return true
  }
  const spies = [
    vi.spyOn(process.stderr, 'write').mockImplementation(keep),
    vi.spyOn(process.stdout, 'write').mockImplementation(keep),
    vi.spyOn(console, 'error').mockImplementation(keep),
    vi.spyOn(console, 'warn').mockImplementation(keep),
    vi.spyOn(console, 'info').mockImplementation(keep),
    vi.spyOn(console, 'log').mockImplementation(keep),
  ]
  try {
    await scene()
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
  return lines
}

const form = 'Content-Type: application/x-www-form-urlencoded\r\n'
const requests = [
  `POST /oauth/token HTTP/1.1\r\nHost: a\r\n${form}Content-Length: 100\r\n\r\ngrant_type=`,
  `POST /oauth/token HTTP/1.1\r\nHost: a\r\n${form}Content-Length: 3\r\n\r\na=%`,
  `POST /oauth/token HTTP/1.1\r\nHost: a\r\n${form}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
  'POST /oauth/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}',
  'GET /oauth/%ff HTTP/1.1\r\nHost: a\r\n\r\n',
  'POST /v1/enroll HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{',
  'GET /verify HTTP/1.1\r\nHost: a\r\n\r\n',
]

/** Starts each request and leaves in the middle. */
const leave: Attempt = async (world) => {
  const lines = await logOf(async () => {
    for (const request of requests) {
      for (let done = 0; done < attempts; done++) {
        const socket = await dial({ port: world.fabric.port })
        socket.on('error', () => undefined)
        const closed = new Promise((resolve) => socket.once('close', resolve))
        socket.write(request, () => socket.destroy())
        await closed
      }
    }
    for (let done = 0; done < attempts; done++) {
      const session = connectHttp2(world.fabric.origin, { rejectUnauthorized: false })
      session.on('error', () => undefined)
      const stream = session.request({
        ':method': 'POST',
        ':path': '/oauth/token',
        'content-type': 'application/x-www-form-urlencoded',
      })
      stream.on('error', () => undefined)
      stream.write('grant_type=')
      await new Promise((resolve) => session.once('remoteSettings', resolve))
      session.destroy()
    }
    // The work that was begun above ends after this.
    await world.admin('status')
  })
  expect(lines.filter((line) => line.includes('    at '))).toEqual([])
  expect(lines.length).toBeLessThan(10)
}

attack(
  verifies(['operate:quiet-log'], 'a client that leaves in the middle writes nothing into the log'),
  {
    gateway: leave,
    mesh: 'a connector has no vendor behind its listeners',
    queue: 'members come in by the gateway',
  },
)
