import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { deadline } from '../../../../../test/harness/deadline.ts'
import { undiciUpstream } from './upstream.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

interface Open {
  readonly connections: number
  readonly waitMs?: number
}

/** A receiver of event streams that do not end by themselves, but at `/quick`. */
async function open({ connections, waitMs = 60_000 }: Open) {
  const streams: ServerResponse[] = []
  const order: string[] = []
  const server = createServer((request, response) => {
    order.push(String(request.headers['x-owner']))
    request.resume()
    if (request.url === '/quick') return void response.end('ok')
    streams.push(response)
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const upstream = undiciUpstream({
    tlsFor: () => expect.unreachable('no receiver proves an identity'),
    ...{ now: () => 0, connectTimeoutMs: 5_000, headersTimeoutMs: 60_000 },
    ...{ connectionsPerEndpointMax: connections, connectionsMax: null, waitMs },
  })
  closing.push(
    () => upstream.close(),
    () => server.closeAllConnections(),
    () => server.close(),
  )
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const send = (owner: string, path: string, more: Sending = {}) => {
    const { signal = new AbortController().signal, connectMs } = more
    const given = upstream.request(
      { url, spiffeId: null },
      {
        ...{ method: 'GET', path, headers: [['x-owner', owner]], body: new Uint8Array(0) },
        ...{ account: { take: () => undefined, give: () => undefined }, signal, owner },
        ...(connectMs === undefined ? {} : { bounds: { connectMs, firstByteMs: 1e6, idleMs: 0 } }),
      },
    )
    given.catch(() => undefined)
    return given
  }
  return { send, streams, order, close: () => upstream.close() }
}

interface Sending {
  readonly signal?: AbortSignal
  readonly connectMs?: number
}

const noConnection = { refusal: { code: 'OVERLOADED', limit: 'upstream.waitMs, 20 ms' } }

describe('event streams', () => {
  test('of one caller take no more connections than are left for others', async () => {
    const { send, order } = await open({ connections: 8, waitMs: 20 })
    for (let each = 0; each < 4; each++) await send('a', '/events')
    await expect(send('a', '/events')).rejects.toMatchObject(noConnection)
    await expect(send('a', '/quick')).rejects.toMatchObject(noConnection)
    for (let each = 0; each < 2; each++) await send('b', '/events')
    await expect(send('b', '/events')).rejects.toMatchObject(noConnection)
    expect(await send('c', '/quick')).toMatchObject({ status: 200 })
    expect(order).toEqual(['a', 'a', 'a', 'a', 'b', 'b', 'c'])
  })

  test('count together, whatever the timeouts of their routes', async () => {
    const { send } = await open({ connections: 2, waitMs: 20 })
    await send('a', '/events', { connectMs: 1_000 })
    await expect(send('a', '/events', { connectMs: 2_000 })).rejects.toMatchObject(noConnection)
  })
})

describe('requests that wait for a connection', () => {
  test('of one caller go behind the first one of another', async () => {
    const { send, streams, order } = await open({ connections: 2 })
    await send('a', '/events')
    await send('b', '/events')
    const waiting = [send('a', '/events'), send('a', '/events'), send('c', '/quick')]
    streams[1]?.end()
    await waiting[2]
    streams[0]?.end()
    await waiting[0]
    expect(order).toEqual(['a', 'b', 'c', 'a'])
  })

  test('and whose caller leaves take none', async () => {
    const { send, streams, order } = await open({ connections: 2 })
    await send('a', '/events')
    const leaving = new AbortController()
    const left = send('a', '/quick', { signal: leaving.signal })
    const next = send('a', '/quick')
    leaving.abort(new Error('left'))
    await expect(left).rejects.toMatchObject({ progress: 'not-sent' })
    streams[0]?.end()
    expect(await next).toMatchObject({ status: 200 })
    expect(order).toEqual(['a', 'a'])
  })

  test('fail unsent when all connections are closed', async () => {
    const { send, order, close } = await open({ connections: 2 })
    await send('a', '/events')
    const waiting = send('a', '/quick')
    await close()
    await expect(waiting).rejects.toMatchObject({ progress: 'not-sent' })
    expect(order).toEqual(['a'])
  })

  test('go on where the one before them fails', async () => {
    const { send, streams } = await open({ connections: 2 })
    const { body } = await send('a', '/events')
    const next = send('a', '/quick')
    streams[0]?.destroy()
    const read = async (): Promise<void> => {
      for await (const _ of body) continue
    }
    await expect(read()).rejects.toMatchObject({ progress: 'sent' })
    expect(await next).toMatchObject({ status: 200 })
    await expect.poll(() => streams[0]?.destroyed, deadline).toBe(true)
  })
})
