import { type ClientHttp2Session, connect, createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import {
  countPiece,
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
) {
  const server = createServer()
  const connections = guardConnections(
    server as unknown as Parameters<typeof guardConnections>[0],
    {
      ...(limits === undefined ? {} : { limits }),
      handle: (request, response) => answer(response, request),
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
