import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { deadline } from '../../../../../test/harness/deadline.ts'
import { EndpointPlaces } from './endpoint-places.ts'
import { undiciUpstream } from './upstream.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

/** A receiver that answers at `/quick` at once, and elsewhere never. */
async function open(connectionsPerEndpointMax: number, waitMs: number) {
  const waiting: ServerResponse[] = []
  let reached = 0
  const server = createServer((request, response) => {
    reached += 1
    request.on('error', () => undefined).resume()
    if (request.url === '/quick') response.end('ok')
    else waiting.push(response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const upstream = undiciUpstream({
    tlsFor: () => {
      throw new Error('no TLS')
    },
    ...{ now: () => 0, connectTimeoutMs: 5_000, headersTimeoutMs: 60_000 },
    ...{ connectionsPerEndpointMax, connectionsMax: null, waitMs },
  })
  closing.push(
    () => upstream.close(),
    () => server.closeAllConnections(),
    () => server.close(),
  )
  const { port } = server.address() as AddressInfo
  const send = (path: string, more: { caller?: string; signal?: AbortSignal } = {}) => {
    const { caller, signal = new AbortController().signal } = more
    const owner = caller ?? 'other'
    const given = upstream.request(
      { url: `http://127.0.0.1:${port}`, spiffeId: null },
      {
        ...{ method: 'POST', path, headers: [], body: new Uint8Array(0), signal, owner },
        account: { take: () => undefined, give: () => undefined },
        ...(caller === undefined ? {} : { stream: slow() }),
      },
    )
    given.catch(() => undefined)
    return given
  }
  return { send, waiting, reached: () => reached }
}

/** One piece, and never an end. */
async function* slow(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('{"n":0}\n')
  await new Promise(() => undefined)
}

test('slow streams of one caller leave connections to others, and to other requests', async () => {
  const { send, reached } = await open(8, 10_000)
  const left = new AbortController()
  const stream = (caller: string, signal?: AbortSignal) =>
    send('/slow', signal === undefined ? { caller } : { caller, signal })
  const first = stream('a', left.signal)
  void stream('a')
  await expect(stream('a')).rejects.toMatchObject({
    refusal: { code: 'OVERLOADED', limit: 'upstream.streams, 4' },
  })
  void stream('b')
  void stream('c')
  await expect(stream('d')).rejects.toMatchObject({ refusal: { code: 'OVERLOADED' } })
  await expect.poll(reached, deadline).toBe(4)
  for (let i = 0; i < 4; i++) expect(await send('/quick')).toMatchObject({ status: 200 })
  left.abort(new Error('left'))
  await expect(first).rejects.toMatchObject({ progress: 'sent' })
  void stream('d')
  await expect.poll(reached, deadline).toBe(9)
})

test('a request that no connection takes in time is refused, and never sent', async () => {
  const { send, waiting, reached } = await open(1, 20)
  const first = send('/slow')
  await expect.poll(reached, deadline).toBe(1)
  await expect(send('/quick')).rejects.toMatchObject({
    refusal: { code: 'OVERLOADED', limit: 'upstream.waitMs, 20 ms' },
  })
  waiting[0]?.end('late')
  const { body } = await first
  for await (const chunk of body) expect(Buffer.from(chunk).toString()).toBe('late')
  expect(await send('/quick')).toMatchObject({ status: 200 })
  expect(reached()).toBe(2)
})

test('places that were given back are of use to others, and endpoints have their own', () => {
  const places = new EndpointPlaces({ name: 'upstream.streams', value: 2, unit: 'count' }, '')
  const give = places.take('x', 'a')
  expect(() => places.take('x', 'a')).toThrow('upstream.streams')
  places.take('y', 'a')
  give()
  places.take('x', 'a')
  places.take('x', 'b')
})
