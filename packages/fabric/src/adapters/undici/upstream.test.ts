import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { getCACertificates, setDefaultCACertificates, type TLSSocket } from 'node:tls'
import { type PeerIdentity, serverTlsOptions, TrustBundles, toPem } from '@countersign/protocol/tls'
import { afterEach, describe, expect, test } from 'vitest'
import { deadline } from '../../../../../test/harness/deadline.ts'
import { type Forged, forge, forgeDomain, forgedAt } from '../../../../../test/hostile/tls-forge.ts'
import { undiciUpstream } from './upstream.ts'

const minute = 60_000
const { root, intermediate } = forgeDomain()
const receiver = 'spiffe://a.test/agent/receiver'
const caller = forge({ issuer: intermediate, uris: ['spiffe://a.test/fabric/gateway'] })
/** Of the receiver, good for so many minutes more. */
const goodFor = (minutes: number): Forged =>
  forge({ issuer: intermediate, uris: [receiver], notAfter: forgedAt + minutes * minute })

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

const answerOk: RequestListener = (_, response) => {
  response.writeHead(200, { 'keep-alive': 'timeout=600' }).end('ok')
}

/** A receiver that holds no connection back, and would keep each of them for ten minutes. */
async function openReceiver(shown: Forged, answer: RequestListener = answerOk) {
  const sockets: TLSSocket[] = []
  let reached = 0
  const server = createServer(
    serverTlsOptions({ ...shown, requestPeer: 'required' }),
    (request, response) => {
      reached += 1
      answer(request, response)
    },
  )
  server.keepAliveTimeout = 600_000
  server.on('secureConnection', (socket: TLSSocket) => {
    socket.on('error', () => undefined)
    sockets.push(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sockets,
    reached: () => reached,
    show: (credential: Forged) =>
      server.setSecureContext(serverTlsOptions({ ...credential, requestPeer: 'required' })),
  }
}

function openUpstream({ url }: { readonly url: string }, spiffeId: string | null = receiver) {
  const bundles = new TrustBundles()
  bundles.set('a.test', { sequence: 1, roots: [root.certificate] })
  let now = forgedAt
  let isAdmitted = true
  let renewedUntil = 0
  const upstream = undiciUpstream({
    tlsFor: (expected) => ({
      ...{ bundles, now: () => now, expected, credential: caller },
      admits: () => isAdmitted,
      continuesUntil: (_: PeerIdentity) => renewedUntil,
    }),
    ...{ now: () => now, connectTimeoutMs: 5_000, headersTimeoutMs: 60_000 },
    ...{ connectionsPerEndpointMax: 64, connectionsMax: null },
  })
  closing.push(() => upstream.close())
  const ask = (
    headers: readonly (readonly [string, string])[] = [],
    stream?: AsyncIterable<Uint8Array>,
  ) =>
    upstream.request(
      { url, spiffeId },
      {
        ...{ method: 'POST', path: '/', headers, body: Uint8Array.of(1), still: () => null },
        signal: new AbortController().signal,
        account: { take: () => undefined, give: () => undefined },
        ...{ owner: 'a', ...(stream === undefined ? {} : { stream }) },
      },
    )
  return {
    ...{ bundles, refresh: () => upstream.refresh(), ask },
    async askWhole() {
      const { body } = await ask()
      const bytes: number[] = []
      for await (const chunk of body) bytes.push(...chunk)
      // Until the connection is idle again, or the next request would get one of its own.
      await nextTurn()
      return Buffer.from(bytes).toString()
    },
    later: (minutes: number) => void (now += minutes * minute),
    enrolAgain: () => void (isAdmitted = false),
    renew: (minutes: number) => void (renewedUntil = forgedAt + minutes * minute),
  }
}

/** Asked at once, so that the connection before is idle and stands. */
const endings = {
  'its certificate ended': ({ later }: ReturnType<typeof openUpstream>) => later(15),
  'its certificate ended, and was renewed elsewhere': ({
    later,
    renew,
  }: ReturnType<typeof openUpstream>) => {
    renew(60)
    later(15)
  },
  'its agent enrolled again': ({ enrolAgain }: ReturnType<typeof openUpstream>) => enrolAgain(),
  'its root was removed': ({ bundles }: ReturnType<typeof openUpstream>) =>
    bundles.set('a.test', { sequence: 2, roots: [] }),
  'its trust domain was removed': ({ bundles }: ReturnType<typeof openUpstream>) =>
    bundles.remove('a.test'),
}

describe('a connection that stands carries no further request once', () => {
  test.each(Object.entries(endings))('%s', async (_, end) => {
    const at = await openReceiver(goodFor(10))
    const upstream = openUpstream(at)
    expect(await upstream.askWhole()).toBe('ok')
    expect(await upstream.askWhole()).toBe('ok')
    expect(at.sockets).toHaveLength(1)
    end(upstream)
    await expect(upstream.ask()).rejects.toMatchObject({ progress: 'not-sent' })
    expect(at.reached()).toBe(2)
    await expect.poll(() => at.sockets[0]?.destroyed, deadline).toBe(true)
  })
})

test('a receiver that renewed its certificate is reached by another connection', async () => {
  const at = await openReceiver(goodFor(10))
  const upstream = openUpstream(at)
  expect(await upstream.askWhole()).toBe('ok')
  at.show(goodFor(60))
  upstream.later(15)
  expect(await upstream.askWhole()).toBe('ok')
  expect(await upstream.askWhole()).toBe('ok')
  expect([at.sockets.length, at.reached()]).toEqual([2, 3])
})

test('so it is with a certificate of a public authority, and what is under way goes on', async () => {
  const authorities = getCACertificates('default')
  setDefaultCACertificates([...authorities, toPem(root.certificate)])
  closing.push(() => setDefaultCACertificates(authorities))
  let more: (text: string) => void = () => undefined
  const begin: RequestListener = (request, response) => {
    if (request.headers['x-stream'] === undefined) return answerOk(request, response)
    response.writeHead(200).write('first')
    more = (text) => void response.end(text)
  }
  const publicly = { issuer: intermediate, uris: [], dnsNames: ['localhost'] }
  const at = await openReceiver(forge({ ...publicly, notAfter: forgedAt + 10 * minute }), begin)
  const upstream = openUpstream({ url: at.url.replace('127.0.0.1', 'localhost') }, null)
  expect(await upstream.askWhole()).toBe('ok')
  const { body } = await upstream.ask([['x-stream', '1']])
  const read = body[Symbol.asyncIterator]()
  expect(Buffer.from((await read.next()).value ?? '').toString()).toBe('first')
  expect(at.sockets).toHaveLength(1)
  upstream.later(15)
  more('second')
  expect(Buffer.from((await read.next()).value ?? '').toString()).toBe('second')
  expect((await read.next()).done).toBe(true)
  expect(at.sockets).toHaveLength(1)
  await nextTurn()
  at.show(forge({ ...publicly, notAfter: forgedAt + 60 * minute }))
  expect(await upstream.askWhole()).toBe('ok')
  expect(at.sockets).toHaveLength(2)
  await expect.poll(() => at.sockets[0]?.destroyed, deadline).toBe(true)
})

describe('a response under way', () => {
  let more: (text: string) => void = () => undefined
  const begin: RequestListener = (_, response) => {
    more = (text) => void response.write(text)
    response.useChunkedEncodingByDefault = false
    response.writeHead(200, { 'content-type': 'text/event-stream', connection: 'close' })
    response.write('first')
  }

  async function underWay() {
    const at = await openReceiver(goodFor(10), begin)
    const upstream = openUpstream(at)
    const { body } = await upstream.ask()
    const read = body[Symbol.asyncIterator]()
    expect(Buffer.from((await read.next()).value ?? '').toString()).toBe('first')
    return { ...upstream, read, at }
  }

  test.each(['its agent enrolled again', 'its root was removed', 'its certificate ended'] as const)(
    'is broken off when %s, also one that ends with its connection',
    async (ending) => {
      const { read, at, ...upstream } = await underWay()
      endings[ending](upstream)
      upstream.refresh()
      await expect(read.next()).rejects.toMatchObject({ progress: 'sent', stale: false })
      await expect.poll(() => at.sockets[0]?.destroyed, deadline).toBe(true)
    },
  )

  test('goes on when the certificate was renewed, until the last renewal ends', async () => {
    const { read, at, ...upstream } = await underWay()
    upstream.renew(60)
    upstream.later(15)
    upstream.refresh()
    expect(at.sockets[0]?.destroyed).toBe(false)
    more('second')
    expect(Buffer.from((await read.next()).value ?? '').toString()).toBe('second')
    upstream.later(60)
    upstream.refresh()
    await expect(read.next()).rejects.toMatchObject({ progress: 'sent' })
  })
})

test('a receiver cannot prolong the time for which an idle connection is kept', async () => {
  const at = await openReceiver(goodFor(60))
  const upstream = openUpstream(at)
  expect(await upstream.askWhole()).toBe('ok')
  await expect.poll(() => at.sockets[0]?.destroyed, deadline).toBe(true)
})

test('a piece of a streamed request keeps its memory until it has left, and no longer', async () => {
  const { promise: read, resolve: goOn } = Promise.withResolvers<void>()
  const received: Buffer[] = []
  const at = await openReceiver(goodFor(10), (request, response) => {
    void read.then(() => request.on('data', (chunk: Buffer) => received.push(chunk)))
    request.on('end', () => response.end('ok'))
  })
  const pieces: Uint8Array<ArrayBuffer>[] = []
  // Small ones: undici takes many of them while the socket takes none.
  async function* made() {
    for (let n = 0; n < 20_000; n++) {
      const piece = new Uint8Array(1_000).fill(n)
      pieces.push(piece)
      yield piece
    }
  }
  const asked = openUpstream(at).ask([], made())
  const held = () => pieces.filter(({ buffer }) => !buffer.detached).length
  const waiting = () => pieces.length < 20_000 && held() > 10
  await expect.poll(waiting, deadline).toBe(true)
  goOn()
  const { status, discard } = await asked
  expect(status).toBe(200)
  discard()
  const all = Buffer.concat(received)
  expect(all.length).toBe(20_000_000)
  expect(pieces.findIndex((_, n) => all[n * 1_000] !== n % 256)).toBe(-1)
  expect(pieces.filter(({ buffer }) => buffer.detached).length).toBeGreaterThan(0)
})

describe('a response over TLS', () => {
  const answering = (head: string) => (): RequestListener => (_, response) => {
    response.socket?.end(`HTTP/1.1 200 OK\r\n${head}\r\nok`)
  }

  test.each([
    ['HTTP/1.1 without a length', answering('Connection: close\r\n')],
    ['a coding without an end', answering('Transfer-Encoding: gzip\r\n')],
  ])('is not whole by the end of its connection: %s', async (_, answer) => {
    const upstream = openUpstream(await openReceiver(goodFor(10), answer()))
    await expect(upstream.askWhole()).rejects.toMatchObject({ progress: 'sent' })
  })

  test('is whole by its length', async () => {
    const answer = answering('Connection: close\r\nContent-Length: 2\r\n')
    const upstream = openUpstream(await openReceiver(goodFor(10), answer()))
    expect(await upstream.askWhole()).toBe('ok')
  })
})
