import { type ClientHttp2Session, connect, createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import {
  countPiece,
  type DropReason,
  guardConnections,
  type ServedRequest,
  type ServedResponse,
} from './connections.ts'
import { sendBytes } from './send-bytes.ts'

const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

const mebibyte = 1024 * 1024

async function listening(
  limits: Parameters<typeof guardConnections>[1]['limits'],
  answer: (response: ServedResponse, request: ServedRequest) => void,
  others: Pick<Parameters<typeof guardConnections>[1], 'identityOf' | 'onDrop'> = {},
) {
  const server = createServer()
  const connections = guardConnections(
    server as unknown as Parameters<typeof guardConnections>[0],
    {
      ...(limits === undefined ? {} : { limits }),
      handle: (request, response) => answer(response, request),
      ...others,
    },
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  closing.push(() => server.close())
  const dial = (windowBytes = 65_535): ClientHttp2Session => {
    const session = connect(`http://127.0.0.1:${port}`, {
      settings: { initialWindowSize: windowBytes },
    })
    session.on('error', () => undefined)
    closing.push(() => session.destroy())
    return session
  }
  return { connections, dial }
}

test('an HTTP/2 connection without a stream ends, one with a stream does not', async () => {
  const { connections, dial } = await listening({ idleMs: 1_000 }, () => undefined)
  const idle = dial()
  const busy = dial()
  busy.request().on('error', () => undefined)
  await expect.poll(() => connections.count).toBe(2)
  await new Promise<void>((resolve) => idle.once('close', () => resolve()))
  await expect.poll(() => connections.count).toBe(1)
  expect(busy.closed).toBe(false)
})

test('a body that many send from counts once, and in full for each who reads it', async () => {
  const shared = new Uint8Array(2 * mebibyte)
  const { connections, dial } = await listening(
    { unsentBytesMax: 8 * mebibyte },
    (response) => void sendBytes(response, shared, true),
  )
  const streams = Array.from({ length: 20 }, () => {
    const stream = dial(0).request()
    stream.on('error', () => undefined)
    return stream
  })
  await expect.poll(() => connections.unsentBytes).toBeGreaterThan(2 * mebibyte)
  // Forty mebibytes wait in all, of which each connection has written one slice.
  expect(connections.unsentBytes).toBeLessThan(5 * mebibyte)
  expect(streams.filter(({ closed }) => closed)).toEqual([])
})

test('a body of one response counts as what it is', async () => {
  const { connections, dial } = await listening(
    { unsentBytesMax: 8 * mebibyte },
    (response) => void sendBytes(response, new Uint8Array(2 * mebibyte)),
  )
  for (let at = 0; at < 20; at++)
    dial(0)
      .request()
      .on('error', () => undefined)
  await expect.poll(() => connections.count).toBeLessThan(5)
})

/** Readers that take nothing, each of as many bytes as its path states; `proved` by their names. */
async function readers(
  limits: Parameters<typeof guardConnections>[1]['limits'],
  asked: Readonly<Record<string, readonly number[]>>,
) {
  const names = new Map<number, string>()
  const dropped: DropReason[] = []
  const { connections, dial } = await listening(
    { stallMs: 600_000, bytesPerSecondMin: 0, ...limits },
    (response, { url = '' }) =>
      void sendBytes(response, new Uint8Array(Math.floor(Number(url.slice(1))))),
    {
      // As the connection of a caller: a connection named `nobody` has proved nothing.
      identityOf: ({ remotePort = 0 }) => names.get(remotePort)?.replace(/^nobody.*$/, '') || null,
      onDrop: (reason) => dropped.push(reason),
    },
  )
  const open: Record<string, boolean[]> = {}
  for (const [name, sizes] of Object.entries(asked)) {
    const session = dial(0)
    await new Promise<void>((resolve) => session.once('connect', () => resolve()))
    names.set(session.socket.localPort ?? 0, name.replace(/ .*/, ''))
    const own = sizes.map(() => true)
    open[name] = own
    for (const [at, bytes] of sizes.entries()) {
      const stream = session.request({ ':path': `/${bytes}` })
      stream
        .on('error', () => undefined)
        .once('close', () => {
          own[at] = false
        })
    }
  }
  return { connections, dropped, open }
}

test('an unauthenticated connection is closed before any authenticated one, however little it holds', async () => {
  const { dropped, open, connections } = await readers(
    { unsentBytesMax: 4 * mebibyte },
    { alice: [3 * mebibyte], nobody: [mebibyte / 4], 'nobody-2': [mebibyte], bob: [mebibyte / 2] },
  )
  await expect.poll(() => open['nobody-2']).toEqual([false])
  await expect.poll(() => connections.unsentBytes).toBeLessThanOrEqual(4 * mebibyte)
  expect(open).toMatchObject({ alice: [true], bob: [true] })
  expect(dropped.every((reason) => reason === 'listener')).toBe(true)
})

test('among those who have, the largest and slowest goes, and no more than it takes', async () => {
  const { dropped, open } = await readers(
    { unsentBytesMax: 6 * mebibyte },
    { alice: [4 * mebibyte], bob: [mebibyte], carol: [2 * mebibyte] },
  )
  await expect.poll(() => open['alice']).toEqual([false])
  await expect.poll(() => dropped).toEqual(['listener'])
  expect(open).toMatchObject({ bob: [true], carol: [true] })
})

test('beyond the share of an identity its own worst connection ends, not a larger one of another identity', async () => {
  const { dropped, open } = await readers(
    { unsentBytesPerIdentity: 4 * mebibyte },
    { bob: [3.9 * mebibyte], 'alice 1': [3 * mebibyte], 'alice 2': [2 * mebibyte] },
  )
  await expect.poll(() => open['alice 1']).toEqual([false])
  expect(open).toMatchObject({ bob: [true], 'alice 2': [true] })
  expect(dropped).toEqual(['identity'])
})

test('a stream that is cut for its connection is not counted against its identity or the listener as well', async () => {
  const { dropped, open } = await readers(
    {
      unsentBytesPerConnection: 4 * mebibyte,
      unsentBytesPerIdentity: 6 * mebibyte,
      unsentBytesMax: 7 * mebibyte,
    },
    { 'alice 2': [3 * mebibyte], bob: [mebibyte], 'alice 1': [mebibyte / 2, 5 * mebibyte] },
  )
  await expect.poll(() => open['alice 1']).toEqual([true, false])
  // The sample that cut it has looked at the identity and the listener by then.
  expect(dropped).toEqual(['connection'])
  expect(open).toMatchObject({ 'alice 2': [true], bob: [true] })
})

test('a stream whose request never ends is over once its response is whole', async () => {
  const { dial } = await listening({}, (response, request) => {
    // Part of the body was read, so that Node waits for the rest.
    request.once('data', () => void sendBytes(response, new Uint8Array(10)))
  })
  const stream = dial().request({ ':method': 'POST' }, { endStream: false })
  stream.on('error', () => undefined).resume()
  stream.write('a')
  await new Promise<void>((resolve) => stream.once('close', () => resolve()))
  expect(stream.rstCode).toBe(0)
})

test.each([true, false])(
  'bytes of a body end its connection, unless it is wanted: %s',
  async (isWanted) => {
    const { dial } = await listening({}, (response, request) => {
      request.on('data', (chunk: Uint8Array) => {
        if (isWanted) countPiece(request, chunk.length)
      })
      request.once('end', () => void sendBytes(response, new Uint8Array(10)))
    })
    const session = dial()
    const upload = session.request({ ':method': 'POST' }, { endStream: false })
    upload.on('error', () => undefined).resume()
    const closed = new Promise<void>((resolve) => upload.once('close', () => resolve()))
    for (let at = 0; at < 64 && !upload.destroyed; at++) {
      await Promise.race([
        new Promise((resolve) => upload.write(Buffer.alloc(256 * 1024), resolve)),
        closed,
      ])
    }
    // The server looks at its connections twice a second.
    if (!isWanted) await closed
    else upload.end()
    await closed
    expect(upload.rstCode === 0).toBe(isWanted)
  },
)
