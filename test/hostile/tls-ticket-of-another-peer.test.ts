import { Agent, createServer, get, type RequestOptions } from 'node:https'
import type { AddressInfo } from 'node:net'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import {
  type ClientTls,
  clientTlsOptions,
  PeerFault,
  serverTlsOptions,
  TrustBundles,
  verifyPeer,
} from '@countersign/protocol/tls'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { forge, forgeDomain, forgedAt } from './tls-forge.ts'

const { root, intermediate } = forgeDomain()
const bob = 'spiffe://a.test/agent/bob'
const carol = 'spiffe://a.test/agent/carol'

let server: ReturnType<typeof createServer>
let port: number
let tls: (expected: string) => ClientTls

beforeEach(async () => {
  const bundles = new TrustBundles()
  bundles.set('a.test', { sequence: 1, roots: [root.certificate] })
  tls = (expected) => ({ bundles, now: () => forgedAt, expected })
  // Bob's server is not one of ours: it hands out tickets and resumes them.
  const own = forge({ issuer: intermediate, uris: [bob] })
  server = createServer(
    { ...serverTlsOptions({ ...own, requestPeer: 'none' }), secureOptions: 0 },
    (_request, response) => response.end('bob'),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
})
afterEach(() => {
  server.closeAllConnections()
  server.close()
})

function request(options: RequestOptions): Promise<string> {
  return new Promise((resolve) => {
    get({ host: 'localhost', port, ...options }, (response) => {
      response.resume().on('end', () => resolve('answered'))
    }).on('error', (error) => resolve(error.message))
  })
}

test('an agent that has met bob does not accept him where carol is expected', async () => {
  const agent = new Agent({ keepAlive: false })
  expect(await request({ agent, ...clientTlsOptions(tls(bob)) })).toBe('answered')
  expect(await request({ agent, ...clientTlsOptions(tls(bob)) })).toBe('answered')
  expect(await request({ agent, ...clientTlsOptions(tls(carol)) })).toMatch('PEER_UNEXPECTED')
  agent.destroy()
})

test('a resumed session skips the check of Node, and not ours', async () => {
  const ticket = await new Promise<Buffer>((resolve) => {
    const socket = open(tls(bob), {})
    socket.once('session', (session: Buffer) => {
      socket.destroy()
      resolve(session)
    })
  })
  const socket = open(tls(carol), { session: ticket })
  await new Promise((resolve, reject) =>
    socket.once('secureConnect', resolve).once('error', reject),
  )
  // Node let it through: the handshake ended well although carol was expected.
  expect(socket.isSessionReused()).toBe(true)
  expect(verifyPeer(socket, tls(carol))).toBeInstanceOf(PeerFault)
  socket.destroy()
})

function open(client: ClientTls, options: ConnectionOptions): TLSSocket {
  return connect({ ...clientTlsOptions(client), host: 'localhost', port, ...options })
}
