import { once } from 'node:events'
import { connect as connectHttp2, createSecureServer } from 'node:http2'
import { createServer as createHttpsServer, get, Agent as HttpsAgent } from 'node:https'
import {
  type AddressInfo,
  createServer as createTcpServer,
  type Server as NetServer,
  type Socket,
} from 'node:net'
import { createServer, type Server, TLSSocket } from 'node:tls'
import { request, Agent as UndiciAgent } from 'undici'
import { afterEach, describe, expect, test } from 'vitest'
import { connectTls } from '../../../test/harness/connect-tls.ts'
import { type Forged, forge, forgeDomain, forgedAt } from '../../../test/hostile/tls-forge.ts'
import {
  type ClientTls,
  clientTlsOptions,
  guardPeers,
  PeerError,
  PeerFault,
  peerIdentity,
  rotateServer,
  serverTlsOptions,
  TrustBundles,
  tlsSocketOf,
  toPem,
  verifyPeer,
  watchExpiry,
} from './tls.ts'

const { root, intermediate } = forgeDomain()
const gateway = 'spiffe://a.test/fabric/gateway'
const alice = forge({ issuer: intermediate })
const own = forge({ issuer: intermediate, uris: [gateway] })
const bundles = new TrustBundles()
bundles.set('a.test', { sequence: 1, roots: [root.certificate] })
const now = () => forgedAt
const client: ClientTls = { bundles, now, expected: gateway, credential: alice }

const opened: { close(): void }[] = []
afterEach(() => {
  for (const each of opened.splice(0)) each.close()
})

async function listen(server: NetServer): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  server.on('tlsClientError', () => undefined)
  opened.push({
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/** Greets every peer that the guard lets through. */
function greeter(credential: Forged = own): Server {
  const server = createServer(serverTlsOptions({ ...credential, requestPeer: 'required' }))
  guardPeers(server, { bundles, now, requestPeer: 'required' })
  server.on('secureConnection', (socket: TLSSocket) => {
    socket.on('error', () => undefined)
    const peer = peerIdentity(socket, bundles, now())
    socket.write(peer instanceof PeerFault ? peer.code : peer.spiffeId)
  })
  return server
}

async function heard(socket: TLSSocket): Promise<string> {
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  return bytes.toString()
}

describe('a connection', () => {
  test('is made when both ends prove whom they are, with hybrid key exchange over TLS 1.3', async () => {
    const port = await listen(greeter())
    const { socket, peer } = await connectTls({ ...client, host: 'localhost', port })
    expect(peer.spiffeId).toBe(gateway)
    expect(await heard(socket)).toBe('spiffe://a.test/agent/alice')
    expect(socket.getProtocol()).toBe('TLSv1.3')
    expect(socket.getEphemeralKeyInfo()).toMatchObject({ name: 'X25519MLKEM768' })
    socket.destroy()
  })

  test('may expect any peer of a trust domain', async () => {
    const port = await listen(greeter())
    const expected = { trustDomain: 'a.test' }
    const { socket, peer } = await connectTls({ ...client, expected, host: 'localhost', port })
    expect(peer.spiffeId).toBe(gateway)
    socket.destroy()
  })

  test('is not made with another peer than the expected one', async () => {
    const port = await listen(greeter())
    const expected = 'spiffe://a.test/fabric/other'
    const attempt = connectTls({ ...client, expected, host: 'localhost', port })
    await expect(attempt).rejects.toMatchObject({ fault: { code: 'PEER_UNEXPECTED' } })
  })

  test('is not made with a domain that has no roots', async () => {
    const port = await listen(greeter())
    const empty = new TrustBundles()
    for (const trust of [empty, withRoots('a.test', [])]) {
      const attempt = connectTls({ ...client, bundles: trust, host: 'localhost', port })
      await expect(attempt).rejects.toBeInstanceOf(PeerError)
    }
  })

  test('is not made with a listener that speaks no TLS, or nothing', async () => {
    const plain = await listen(createTcpServer((socket) => socket.end('HTTP/1.1 400\r\n\r\n')))
    await expect(connectTls({ ...client, host: 'localhost', port: plain })).rejects.toBeInstanceOf(
      PeerError,
    )
    const silent = await listen(createTcpServer())
    const attempt = connectTls({
      ...client,
      host: 'localhost',
      port: silent,
      handshakeTimeoutMs: 30,
    })
    await expect(attempt).rejects.toThrow('took too long')
  })

  test('of a client that insists on hybrid key exchange is not made with a classical listener', async () => {
    const server = createServer({
      ...serverTlsOptions({ ...own, requestPeer: 'none' }),
      ecdhCurve: 'X25519:P-256',
    })
    const port = await listen(server)
    const attempt = connectTls({
      ...client,
      keyExchange: 'hybrid-required',
      host: 'localhost',
      port,
    })
    await expect(attempt).rejects.toBeInstanceOf(PeerError)
    const { socket } = await connectTls({ ...client, host: 'localhost', port })
    expect(socket.getEphemeralKeyInfo()).toMatchObject({ name: 'X25519' })
    socket.destroy()
  })

  test('is cut by a listener that requires a peer, and kept by one that asks for it', async () => {
    const { credential: _, ...anonymous } = client
    const strict = await listen(greeter())
    const { socket: cut } = await connectTls({ ...anonymous, host: 'localhost', port: strict })
    cut.on('error', () => undefined)
    await once(cut, 'close')

    const server = createServer(serverTlsOptions({ ...own, requestPeer: 'optional' }))
    guardPeers(server, { bundles, now, requestPeer: 'optional' })
    server.on('secureConnection', (socket: TLSSocket) => socket.write('hello'))
    const { socket: kept } = await connectTls({
      ...anonymous,
      host: 'localhost',
      port: await listen(server),
    })
    expect(await heard(kept)).toBe('hello')
    kept.destroy()
  })
})

describe('the options fit', () => {
  test('node:https with an agent', async () => {
    const server = createHttpsServer(
      serverTlsOptions({ ...own, requestPeer: 'required', alpn: ['http/1.1'] }),
      (request, response) => {
        const peer = peerIdentity(request.socket as TLSSocket, bundles, now())
        response.end(peer instanceof PeerFault ? peer.code : peer.spiffeId)
      },
    )
    guardPeers(server, { bundles, now, requestPeer: 'required' })
    const port = await listen(server)
    const fetchWith = (expected: string) =>
      new Promise<string>((resolve) => {
        const agent = new HttpsAgent(clientTlsOptions({ ...client, expected }))
        opened.push({ close: () => agent.destroy() })
        get({ host: 'localhost', port, agent }, (response) => {
          response.on('data', (bytes: Buffer) => resolve(bytes.toString()))
        }).on('error', (error) => resolve(error.message))
      })
    expect(await fetchWith(gateway)).toBe('spiffe://a.test/agent/alice')
    expect(await fetchWith('spiffe://a.test/fabric/other')).toMatch('PEER_UNEXPECTED')
  })

  test('undici', async () => {
    const server = createHttpsServer(
      serverTlsOptions({ ...own, requestPeer: 'required', alpn: ['http/1.1'] }),
      (_request, response) => response.end('answered'),
    )
    guardPeers(server, { bundles, now, requestPeer: 'required' })
    const port = await listen(server)
    const ask = async (expected: string): Promise<string> => {
      const pool = new UndiciAgent({ connect: clientTlsOptions({ ...client, expected }) })
      const answer = request(`https://localhost:${port}/`, { dispatcher: pool })
      const text = await answer.then(({ body }) => body.text()).catch(String)
      await pool.destroy()
      return text
    }
    expect(await ask(gateway)).toBe('answered')
    expect(await ask('spiffe://a.test/fabric/other')).toMatch('PEER_UNEXPECTED')
  })

  test('node:http2, whose streams know their peer', async () => {
    const server = createSecureServer(
      serverTlsOptions({ ...own, requestPeer: 'required', alpn: ['h2'] }),
    )
    guardPeers(server, { bundles, now, requestPeer: 'required' })
    server.on('stream', (stream) => {
      const { socket } = stream.session ?? {}
      const peer = socket instanceof TLSSocket ? peerIdentity(socket, bundles, now()) : null
      stream.respond({ ':status': 200 })
      stream.end(peer instanceof PeerFault || peer === null ? 'nobody' : peer.spiffeId)
    })
    const port = await listen(server)
    const session = connectHttp2(
      `https://localhost:${port}`,
      clientTlsOptions({ ...client, alpn: ['h2'] }),
    )
    await once(session, 'connect')
    const socket = session.socket
    expect(socket instanceof TLSSocket && verifyPeer(socket, client)).toMatchObject({
      spiffeId: gateway,
    })
    const [bytes] = (await once(session.request({ ':path': '/' }), 'data')) as [Buffer]
    expect(bytes.toString()).toBe('spiffe://a.test/agent/alice')
    session.destroy()
  })
})

test('a chain is copied once for a connection, so that a rejection of it is remembered', async () => {
  const chains: (readonly Uint8Array[])[] = []
  const listening = new TrustBundles()
  const identify = listening.identify.bind(listening)
  listening.identify = (chain, at) => {
    chains.push(chain)
    return identify(chain, at)
  }
  const server = createHttpsServer(
    serverTlsOptions({ ...own, requestPeer: 'optional', alpn: ['http/1.1'] }),
    (request, response) => {
      const peer = peerIdentity(request.socket as TLSSocket, listening, now())
      response.end(peer instanceof PeerFault ? peer.code : peer.spiffeId)
    },
  )
  guardPeers(server, { bundles: listening, now, requestPeer: 'optional' })
  const port = await listen(server)
  const agent = new HttpsAgent({ ...clientTlsOptions(client), keepAlive: true, maxSockets: 1 })
  opened.push({ close: () => agent.destroy() })
  const ask = () =>
    new Promise<string>((resolve, reject) => {
      get({ host: 'localhost', port, agent }, (response) => {
        response.on('data', (bytes: Buffer) => resolve(bytes.toString()))
      }).on('error', reject)
    })
  expect([await ask(), await ask()]).toEqual(['TRUST_DOMAIN_UNKNOWN', 'TRUST_DOMAIN_UNKNOWN'])
  expect(chains).toHaveLength(3)
  expect(new Set(chains).size).toBe(1)
})

test('a request knows its TLS connection over HTTP/1.1 and HTTP/2', async () => {
  const server = createSecureServer(
    { ...serverTlsOptions({ ...own, requestPeer: 'required' }), allowHTTP1: true },
    (request, response) => {
      const socket = tlsSocketOf(request)
      const peer = socket === null ? null : peerIdentity(socket, bundles, now())
      response.end(peer instanceof PeerFault || peer === null ? 'nobody' : peer.spiffeId)
    },
  )
  const port = await listen(server)
  const session = connectHttp2(
    `https://localhost:${port}`,
    clientTlsOptions({ ...client, alpn: ['h2'] }),
  )
  const [bytes] = (await once(session.request({ ':path': '/' }), 'data')) as [Buffer]
  session.destroy()
  const pool = new UndiciAgent({ connect: clientTlsOptions(client), allowH2: false })
  const { body } = await request(`https://localhost:${port}/`, { dispatcher: pool })
  expect([bytes.toString(), await body.text()]).toEqual(
    Array(2).fill('spiffe://a.test/agent/alice'),
  )
  await pool.destroy()
  expect(tlsSocketOf({})).toBeNull()
})

describe('a live connection', () => {
  test('ends when the certificate of its peer does', async () => {
    const port = await listen(greeter())
    const { socket } = await connectTls({ ...client, host: 'localhost', port })
    expect(await heard(socket)).toBe('spiffe://a.test/agent/alice')
    let at = forgedAt
    watchExpiry(socket, forgedAt + 5, { now: () => at++ })
    await once(socket, 'close')
    expect(socket.destroyed).toBe(true)
  })

  test('ends at once when the certificate has expired already', async () => {
    const port = await listen(greeter())
    const { socket } = await connectTls({ ...client, host: 'localhost', port })
    watchExpiry(socket, forgedAt - 1, { now })
    expect(socket.destroyed).toBe(true)
  })

  test('survives the rotation of the listener, and the next one meets the new certificate', async () => {
    const server = greeter()
    const port = await listen(server)
    const first = await connectTls({ ...client, host: 'localhost', port })
    expect(await heard(first.socket)).toBe('spiffe://a.test/agent/alice')
    const renewed = forge({ issuer: intermediate, uris: [gateway] })
    rotateServer(server, serverTlsOptions({ ...renewed, requestPeer: 'required' }))
    const second = await connectTls({ ...client, host: 'localhost', port })
    expect(second.peer.fingerprint).not.toBe(first.peer.fingerprint)
    expect(first.socket.destroyed).toBe(false)
    first.socket.destroy()
    second.socket.destroy()
  })
})

test('PEM is what OpenSSL reads', async () => {
  const { X509Certificate } = await import('node:crypto')
  expect(new Uint8Array(new X509Certificate(toPem(own.certificate)).raw)).toEqual(own.certificate)
})

function withRoots(trustDomain: string, roots: readonly Uint8Array[]): TrustBundles {
  const trust = new TrustBundles()
  trust.set(trustDomain, { sequence: 1, roots })
  return trust
}
