import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2 } from 'node:http2'
import type { AddressInfo, Server } from 'node:net'
import { expect, test } from 'vitest'
import { Refusal, StatedRefusal } from '../../lib/refusal.ts'
import { type NodeResponse, type Reply, writeReply } from './respond.ts'

/** A stream that never sends anything, and whether it was released. */
function silentReply(headers: Reply['headers'] = []) {
  const abandoned = Promise.withResolvers<'let go'>()
  const events = {
    next: () => new Promise<never>(() => undefined),
    abandon: () => {
      abandoned.resolve('let go')
      return Promise.resolve()
    },
  }
  const terminalEventsFor = () => [
    {
      data: new Uint8Array(0),
      contentType: 'text/plain' as const,
      frame: [],
    },
  ]
  const reply: Reply = { status: 200, headers, body: { events, terminalEventsFor } }
  return { reply, abandoned: abandoned.promise }
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/** Writes the reply only after its caller has left. */
async function writeLate(response: NodeResponse, reply: Reply): Promise<void> {
  await new Promise((resolve) => response.once('close', resolve))
  await writeReply(response, reply)
}

test('a stream whose caller left before its head was written is let go', async () => {
  const { reply, abandoned } = silentReply()
  const arrived = Promise.withResolvers<void>()
  const server = createServer((_: IncomingMessage, response: ServerResponse) => {
    arrived.resolve()
    writeLate(response, reply).catch(() => undefined)
  })
  const request = get({ port: await listen(server), host: '127.0.0.1' }).on(
    'error',
    () => undefined,
  )
  await arrived.promise
  request.destroy()
  expect(await abandoned).toBe('let go')
  server.close()
})

test('over HTTP/2 as well', async () => {
  const { reply, abandoned } = silentReply()
  const arrived = Promise.withResolvers<void>()
  const server = createHttp2((_, response) => {
    arrived.resolve()
    writeLate(response, reply).catch(() => undefined)
  })
  const client = connectHttp2(`http://127.0.0.1:${await listen(server)}`)
  const stream = client.request({ ':path': '/' })
  stream.on('error', () => undefined)
  await arrived.promise
  stream.close()
  expect(await abandoned).toBe('let go')
  client.destroy()
  server.close()
})

test('a stream whose head cannot be written is let go', async () => {
  const { reply, abandoned } = silentReply([['etag', '\u4e2d']])
  const failed = Promise.withResolvers<void>()
  const server = createServer((_: IncomingMessage, response: ServerResponse) => {
    writeReply(response, reply).catch(() => {
      failed.resolve()
      response.destroy()
    })
  })
  const request = get({ port: await listen(server), host: '127.0.0.1' }).on(
    'error',
    () => undefined,
  )
  expect(await abandoned).toBe('let go')
  await failed.promise
  request.destroy()
  server.close()
})

test.each([
  ['HEAD', 200, undefined],
  ['GET', 304, undefined],
  ['GET', 200, '0'],
])('the answer without a body to %s with %d has the length %s', async (method, status, length) => {
  const server = createServer((_: IncomingMessage, response: ServerResponse) => {
    writeReply(response, { status, headers: [], body: new Uint8Array(0) }).catch(() => undefined)
  })
  const port = await listen(server)
  const answered = Promise.withResolvers<IncomingMessage>()
  get({ port, host: '127.0.0.1', method }, answered.resolve).on('error', answered.reject)
  const { headers } = await answered.promise
  expect(headers['content-length']).toBe(length)
  server.closeAllConnections()
  server.close()
})

test.each([
  [
    'closes behind a refusal for the size of the request',
    { refusal: new Refusal('MESSAGE_TOO_LARGE', '') },
    'close',
  ],
  [
    'stays open behind the same refusal, if a receiver states it',
    {
      refusal: new StatedRefusal('MESSAGE_TOO_LARGE', '', {
        statedBy: 'spiffe://a.test/agent/echo',
        limit: null,
      }),
    },
    'keep-alive',
  ],
  ['stays open behind a reply whose field only looks like one', {}, 'keep-alive'],
])('the connection %s', async (_, refusal, connection) => {
  const headers = [['countersign-refusal', 'MESSAGE_TOO_LARGE']] as const
  const reply: Reply = { status: 413, headers, body: new Uint8Array(0), ...refusal }
  const server = createServer((_request, response) => {
    writeReply(response, reply).catch(() => undefined)
  })
  const response = await fetch(`http://127.0.0.1:${await listen(server)}`)
  expect(response.headers.get('connection')).toBe(connection)
  server.close()
})
