import type { RequestListener, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { Failure } from '../../packages/fabric/src/cli/failure.ts'
import { findLogSource, type LogSource } from '../../packages/fabric/src/cli/log-source.ts'
import { openTlsAuthority } from '../harness/tls-authority.ts'
import { verifies } from '../requirements.ts'

const open: { readonly server: Server; readonly sockets: Set<Socket> }[] = []
afterEach(() => {
  for (const { server, sockets } of open.splice(0)) {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
})

/** The log at the address of a malicious server, which a comparison reads for 400 ms. */
async function logAt(listener: RequestListener): Promise<LogSource> {
  const authority = await openTlsAuthority()
  const { keyPem, certPem } = await authority.issue({ dnsNames: ['localhost'], ipAddresses: [] })
  const server = createServer({ key: keyPem, cert: certPem, minVersion: 'TLSv1.3' }, listener)
  const sockets = new Set<Socket>()
  server.on('secureConnection', (socket: Socket) => {
    sockets.add(socket)
    // Those who leave reset the connection.
    socket.on('error', () => undefined)
  })
  open.push({ server, sockets })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  const source = findLogSource(
    `https://localhost:${port}/log/`,
    () => Buffer.from(authority.caPem),
    400,
  )
  if (source === null) throw new Error('an address is a source')
  return source
}

/** Repeats `act` until its client has left. */
function drip(response: ServerResponse, act: () => void): void {
  const timer = setInterval(() => {
    if (response.destroyed) clearInterval(timer)
    else act()
  }, 10)
}

const whole = Buffer.alloc(8_192)

const servers: Readonly<Record<string, RequestListener>> = {
  'that never answers': () => undefined,
  'that announces an answer for ever': (_, response) => {
    drip(response, () => response.writeProcessing())
  },
  'that sends a field a byte at a time': (_, response) => {
    response.socket?.write('HTTP/1.1 200 OK\r\nx: ')
    drip(response, () => response.socket?.write('x'))
  },
  'that sends a tile a byte at a time': (_, response) => {
    response.writeHead(200, { 'content-length': whole.length })
    drip(response, () => response.write('x'))
  },
  'that sends all of a tile but its end': (_, response) => {
    response.writeHead(200).write(whole)
  },
  'that answers each request a little later': (_, response) => {
    setTimeout(() => response.end(whole), 60)
  },
}

test.each(Object.entries(servers))(
  verifies(['record:bounded-comparison'], 'a comparison leaves a server %s'),
  async (_, listener) => {
    const source = await logAt(listener)
    const reading = async (): Promise<never> => {
      for (let tile = 0; ; tile++) await source.readTile(`tile/0/${tile}`, whole.length)
    }
    const failure: unknown = await reading().catch((cause: unknown) => cause)
    expect(failure).toBeInstanceOf(Failure)
    expect(failure).toMatchObject({ message: expect.stringContaining('no whole answer') as string })
  },
)

test(
  verifies(['record:bounded-comparison'], 'a comparison takes no more than a tile from a server'),
  async () => {
    const source = await logAt((_, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536)));
      }
      response.on('drain', more)
      response.writeHead(200)
      more()
    })
    await expect(source.readTile('tile/0/000', whole.length)).rejects.toThrow(
      'is longer than 8192 bytes',
    )
  },
)
