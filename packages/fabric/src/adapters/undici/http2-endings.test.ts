import type { Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import {
  flagBits,
  frameOf,
  frameTypes,
  literal,
  type RawReceiver,
  rawReceiver,
  statusOk,
} from '../../../../../test/harness/raw-http2.ts'
import { undiciUpstream } from './upstream.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

async function* piece(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('x')
}

async function openReceiver(
  acts: RawReceiver,
  bounds: { readonly waitMs: number; readonly idleMs?: number } = { waitMs: 60_000 },
) {
  const receiver = await rawReceiver(acts)
  closing.push(() => receiver.close())
  const upstream = undiciUpstream({
    tlsFor: () => expect.unreachable('no receiver proves an identity'),
    ...{ now: () => 0, connectTimeoutMs: 5_000, headersTimeoutMs: 60_000 },
    ...{ connectionsPerEndpointMax: 64, connectionsMax: null, ...bounds },
  })
  closing.push(() => upstream.close())
  const send = () =>
    upstream.request(
      { url: `http://127.0.0.1:${receiver.port}`, spiffeId: null },
      {
        ...{ method: 'POST', path: '/', headers: [], body: new Uint8Array(0) },
        ...{ signal: new AbortController().signal, isHttp2: true, stream: piece(), owner: 'a' },
        account: { take: () => undefined, give: () => undefined },
      },
    )
  return { send, connections: () => receiver.connections() }
}

type Ending = (socket: Socket, stream: number) => void

const u32 = (...values: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [at, value] of values.entries()) bytes.writeUInt32BE(value, 4 * at)
  return bytes
}
const data = (flags: number, stream: number, text: string): Buffer =>
  frameOf(frameTypes.data, flags, stream, Buffer.from(text))
const reset = (code: number, stream: number): Buffer =>
  frameOf(frameTypes.reset, 0, stream, u32(code))
const goAway = (code: number, last: number): Buffer =>
  frameOf(frameTypes.goAway, 0, 0, u32(last, code))
const { endHeaders, endStream } = flagBits

/** Answers a whole request with a first part, which its client has read before it `ends`. */
async function partly(ends: Ending): Promise<string> {
  let end = (): void => expect.unreachable('no request came')
  const { send } = await openReceiver({
    onRequest: (socket, stream) => {
      socket.write(frameOf(frameTypes.headers, endHeaders, stream, statusOk))
      socket.write(data(0, stream, 'first '))
      end = () => ends(socket, stream)
    },
  })
  const chunks: Uint8Array[] = []
  for await (const chunk of (await send()).body) {
    if (chunks.length === 0) end()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

describe('a response over HTTP/2 to a request that was sent whole', () => {
  test.each<readonly [string, Ending]>([
    ['a reset without an error', (socket, stream) => socket.write(reset(0, stream))],
    ['a reset that cancels', (socket, stream) => socket.write(reset(8, stream))],
    ['a reset with an error', (socket, stream) => socket.write(reset(2, stream))],
    ['the end of its connection', (socket) => socket.end()],
    ['a reset of its connection', (socket) => socket.resetAndDestroy()],
    ['an orderly end of its session', (socket, stream) => socket.end(goAway(0, stream))],
    ['an error of its session', (socket, stream) => socket.write(goAway(2, stream))],
    ['a session that has not taken it', (socket) => socket.end(goAway(0, 0))],
    [
      'more bytes and the end of its connection',
      (socket, stream) => socket.end(data(0, stream, 'and more')),
    ],
  ])('is not whole after %s', async (_, ends) => {
    await expect(partly(ends)).rejects.toMatchObject({ progress: 'sent' })
  })

  test.each<readonly [string, string, Ending]>([
    [
      'with its last bytes',
      'first and last',
      (socket, stream) => socket.end(data(endStream, stream, 'and last')),
    ],
    [
      'without further bytes',
      'first ',
      (socket, stream) => socket.end(data(endStream, stream, '')),
    ],
    [
      'with trailers',
      'first ',
      (socket, stream) => {
        const fields = literal('grpc-status', '0')
        socket.end(frameOf(frameTypes.headers, endHeaders | endStream, stream, fields))
      },
    ],
  ])('is whole where the receiver ends it %s', async (_, body, ends) => {
    expect(await partly(ends)).toBe(body)
  })
})

test('a request over HTTP/2 opens few sessions at a receiver that ends each one unused', async () => {
  // SETTINGS_MAX_CONCURRENT_STREAMS of 0: the request waits in the session.
  const settings = Buffer.concat([Buffer.from([0, 3]), u32(0)])
  const { send, connections } = await openReceiver({
    settings,
    onConnection: (socket) => {
      setImmediate(() => socket.end(goAway(0, 0)))
    },
  })
  await expect(send()).rejects.toMatchObject({
    ...{ progress: 'not-sent', limit: 'upstream.unusedSessions, 3' },
  })
  expect(connections()).toBeLessThanOrEqual(3)
})

const answerOf = (stream: number): Buffer =>
  frameOf(frameTypes.headers, endHeaders | endStream, stream, statusOk)

async function read(answer: Promise<{ readonly body: AsyncIterable<Uint8Array> }>): Promise<void> {
  for await (const _ of (await answer).body);
}

test('a request over HTTP/2 goes to a new session where one ends with its last answer', async () => {
  const { send, connections } = await openReceiver({
    onRequest: (socket, stream) =>
      void socket.write(Buffer.concat([answerOf(stream), goAway(0, stream)])),
  })
  for (let round = 0; round < 3; round++) await read(send())
  expect(connections()).toBe(3)
})

describe('a request over HTTP/2 that its receiver states not to have processed', () => {
  test.each<readonly [string, Ending]>([
    ['refused', (socket, stream) => socket.write(reset(7, stream))],
    ['beyond the last one that it takes', (socket) => socket.write(goAway(0, 0))],
    ['beyond it, with an error', (socket) => socket.write(goAway(2, 0))],
  ])('is not sent, by that word: %s', async (_, ends) => {
    const { send } = await openReceiver({ onRequest: ends })
    await expect(send()).rejects.toMatchObject({ progress: 'not-sent', isStated: true })
  })

  test.each<readonly [string, Ending]>([
    ['a reset with another error', (socket, stream) => socket.write(reset(2, stream))],
    ['an error of its session', (socket, stream) => socket.write(goAway(2, stream))],
    [
      'a refusal of what it has begun to answer',
      (socket, stream) => {
        const head = frameOf(frameTypes.headers, endHeaders, stream, statusOk)
        socket.write(Buffer.concat([head, reset(7, stream)]))
      },
    ],
  ])('is sent after %s', async (_, ends) => {
    const { send } = await openReceiver({ onRequest: ends })
    await expect(read(send())).rejects.toMatchObject({ progress: 'sent', isStated: false })
  })
})

test('a request over HTTP/2 waits on one connection for a stream that its receiver permits', async () => {
  const settings = Buffer.concat([Buffer.from([0, 3]), u32(0)])
  const { send, connections } = await openReceiver({ settings }, { waitMs: 200, idleMs: 20 })
  const refused = await send().catch((cause: unknown) => cause)
  expect(refused).toMatchObject({ progress: 'not-sent', limit: 'upstream.waitMs, 200 ms' })
  expect(String(refused)).toContain('permits no stream')
  expect(connections()).toBe(1)
})
