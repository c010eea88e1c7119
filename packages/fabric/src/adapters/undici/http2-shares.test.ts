import { once } from 'node:events'
import {
  createServer,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type Settings,
} from 'node:http2'
import { type AddressInfo, createServer as listen, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { deadline } from '../../../../../test/harness/deadline.ts'
import { grudgingReceiver } from '../../../../../test/harness/raw-http2.ts'
import { undiciUpstream } from './upstream.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

/** Echoes at `/quick`, ends the session with an error at `/broken`, and is silent elsewhere. */
async function openReceiver(settings: Settings = {}) {
  const server = createServer({ settings })
  const sessions: ServerHttp2Session[] = []
  const waiting: ServerHttp2Stream[] = []
  let reached = 0
  server.on('session', (session) => {
    sessions.push(session)
    session.on('error', () => undefined)
  })
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    reached += 1
    stream.on('error', () => undefined)
    if (headers[':path'] === '/broken') return stream.session?.goaway(11)
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
    if (headers[':path'] === '/quick') stream.pipe(stream)
    else waiting.push(stream)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { port, sessions, waiting, reached: () => reached }
}

interface Bounds {
  readonly perEndpoint?: number
  readonly waitMs?: number
  readonly idleMs?: number
  readonly sessions?: number
}

function openUpstream({ perEndpoint = 64, waitMs = 60_000, idleMs, sessions }: Bounds = {}) {
  const upstream = undiciUpstream({
    tlsFor: () => expect.unreachable('no receiver proves an identity'),
    ...{ now: () => 0, connectTimeoutMs: 5_000, headersTimeoutMs: 60_000 },
    ...{ connectionsPerEndpointMax: perEndpoint, connectionsMax: null, waitMs },
    ...(idleMs === undefined ? {} : { idleMs }),
    ...(sessions === undefined ? {} : { sessionsMax: sessions }),
  })
  closing.push(() => upstream.close())
  const send = (port: number, path: string, sending: Sending = {}) => {
    const { owner = 'a', stream = piece('x'), signal = new AbortController().signal } = sending
    const given = upstream.request(
      { url: `http://127.0.0.1:${port}`, spiffeId: null },
      {
        ...{ method: 'POST', path, headers: [], body: new Uint8Array(0), signal },
        ...{ account: { take: () => undefined, give: () => undefined } },
        ...{ isHttp2: true, stream, owner },
      },
    )
    given.catch(() => undefined)
    return given
  }
  return Object.assign(send, { close: () => upstream.close() })
}

interface Sending {
  readonly owner?: string
  readonly stream?: AsyncIterable<Uint8Array>
  readonly signal?: AbortSignal
}

async function* piece(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text)
}

async function whole(answer: ReturnType<ReturnType<typeof openUpstream>>): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of (await answer).body) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

describe('a caller over HTTP/2', () => {
  test('gets through while another one has all streams that the receiver permits', async () => {
    const at = await openReceiver({ maxConcurrentStreams: 4 })
    const send = openUpstream()
    for (let each = 0; each < 4; each++) await send(at.port, '/slow')
    void send(at.port, '/slow')
    expect(await whole(send(at.port, '/quick', { owner: 'b' }))).toBe('x')
    expect(at.reached()).toBe(5)
  })

  test('gets through while another one has used up a connection’s flow control', async () => {
    const at = await grudgingReceiver()
    closing.push(() => at.close())
    const send = openUpstream()
    const large = async function* () {
      yield Buffer.alloc(100_000)
    }
    void send(at.port, '/', { stream: large() })
    await expect.poll(() => at.bodyBytes(), deadline).toBe(65_535)
    expect(await send(at.port, '/', { owner: 'b' })).toMatchObject({ status: 200 })
  })

  test('goes on where the session of another one ends with an error', async () => {
    const at = await openReceiver()
    const send = openUpstream()
    const own = await send(at.port, '/slow', { owner: 'b' })
    await expect(send(at.port, '/broken')).rejects.toMatchObject({ progress: 'sent' })
    at.waiting[0]?.end('late')
    expect(await whole(Promise.resolve(own))).toBe('late')
  })
})

describe('requests of one caller over HTTP/2', () => {
  test('wait for one another where the receiver permits few, and for no longer than stated', async () => {
    const at = await openReceiver({ maxConcurrentStreams: 1 })
    const send = openUpstream({ waitMs: 100 })
    const first = await send(at.port, '/slow')
    await expect(send(at.port, '/quick')).rejects.toMatchObject({
      refusal: { code: 'OVERLOADED', limit: 'upstream.waitMs, 100 ms' },
    })
    expect(at.reached()).toBe(1)
    first.discard()
    expect(await whole(send(at.port, '/quick'))).toBe('x')
    expect(at.sessions).toHaveLength(1)
  })

  test('go on in their turn, those excepted whose callers left', async () => {
    const at = await openReceiver({ maxConcurrentStreams: 1 })
    const send = openUpstream()
    const first = await send(at.port, '/slow')
    const leaving = new AbortController()
    const left = send(at.port, '/quick', { signal: leaving.signal })
    const second = send(at.port, '/quick')
    leaving.abort(new Error('left'))
    await expect(left).rejects.toMatchObject({ progress: 'not-sent' })
    first.discard()
    expect(await whole(second)).toBe('x')
    expect(at.reached()).toBe(2)
  })

  test('wait for a new session where the one that they waited for ends', async () => {
    const at = await openReceiver({ maxConcurrentStreams: 1 })
    const send = openUpstream()
    await send(at.port, '/slow')
    const second = send(at.port, '/quick')
    await expect.poll(() => at.sessions, deadline).toHaveLength(1)
    at.sessions[0]?.destroy()
    expect(await whole(second)).toBe('x')
  })
})

test('a request that waits for a stream fails unsent when all sessions are closed', async () => {
  const at = await openReceiver({ maxConcurrentStreams: 1 })
  const send = openUpstream()
  await send(at.port, '/slow')
  const waiting = send(at.port, '/quick')
  await send.close()
  await expect(waiting).rejects.toMatchObject({ progress: 'not-sent' })
  expect(at.reached()).toBe(1)
})

describe('a session over HTTP/2', () => {
  test('ends when it is idle, and not while its streams are silent', async () => {
    const at = await openReceiver()
    const send = openUpstream({ idleMs: 20 })
    const quiet = await send(at.port, '/slow')
    expect(await whole(send(at.port, '/quick', { owner: 'b' }))).toBe('x')
    await expect.poll(() => at.sessions[1]?.destroyed, deadline).toBe(true)
    expect(await whole(send(at.port, '/quick'))).toBe('x')
    expect(at.sessions).toHaveLength(2)
    quiet.discard()
    await expect.poll(() => at.sessions[0]?.destroyed, deadline).toBe(true)
  })

  test('is refused where callers have as many as one endpoint gets, and idle ones make room', async () => {
    const at = await openReceiver()
    const send = openUpstream({ perEndpoint: 2 })
    await send(at.port, '/slow', { owner: 'a' })
    expect(await whole(send(at.port, '/quick', { owner: 'b' }))).toBe('x')
    const leaving = new AbortController()
    const slow = { owner: 'c', signal: leaving.signal }
    // The session of `b` is idle once its stream has closed.
    await expect
      .poll(
        () =>
          send(at.port, '/slow', slow).then(
            ({ status }) => status,
            () => 0,
          ),
        deadline,
      )
      .toBe(200)
    await expect(send(at.port, '/quick', { owner: 'd' })).rejects.toMatchObject({
      refusal: { code: 'OVERLOADED', limit: 'upstream.sessions, 2' },
    })
    expect(await whole(send((await openReceiver()).port, '/quick', { owner: 'd' }))).toBe('x')
    leaving.abort(new Error('left'))
    await expect
      .poll(() => whole(send(at.port, '/quick', { owner: 'd' })).catch(() => ''), deadline)
      .toBe('x')
  })

  test('is refused to a caller that has as many as are left for others', async () => {
    const send = openUpstream({ sessions: 4 })
    const receivers = await Promise.all(Array.from({ length: 3 }, () => openReceiver()))
    const [first, second, third] = receivers.map(({ port }) => port)
    await send(first ?? 0, '/slow')
    await send(second ?? 0, '/slow')
    await expect(send(third ?? 0, '/slow')).rejects.toMatchObject({
      refusal: { code: 'OVERLOADED', limit: 'upstream.sessions, 4' },
    })
    expect(await whole(send(third ?? 0, '/quick', { owner: 'b' }))).toBe('x')
  })

  test('is not one before its receiver has stated its settings', async () => {
    const sockets: Socket[] = []
    const server = listen((socket) => {
      sockets.push(socket.on('error', () => undefined))
      socket.resume()
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    closing.push(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    const { port } = server.address() as AddressInfo
    const upstream = openUpstream()
    const waiting = upstream(port, '/quick')
    await expect.poll(() => sockets, deadline).toHaveLength(1)
    sockets[0]?.destroy()
    await expect(waiting).rejects.toMatchObject({ progress: 'not-sent' })
  })
})
