import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { webListener } from './web-listener.ts'

const open: Server[] = []
afterEach(() => {
  for (const server of open.splice(0)) server.close()
})

async function serve(answer: (request: Request) => Promise<Response>): Promise<string> {
  const server = createServer(webListener(answer))
  open.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test('carries method, path, headers and body in, and status, headers and body out', async () => {
  const url = await serve(async (request) => {
    const { pathname, search } = new URL(request.url)
    const told = [
      request.method,
      pathname + search,
      request.headers.get('x-a'),
      await request.text(),
    ]
    return Response.json(told, { status: 418, headers: { 'x-b': 'two' } })
  })
  const response = await fetch(`${url}/a/b?c=d`, {
    method: 'PUT',
    headers: { 'x-a': 'one' },
    body: 'three',
  })
  expect([response.status, response.headers.get('x-b')]).toEqual([418, 'two'])
  expect(await response.json()).toEqual(['PUT', '/a/b?c=d', 'one', 'three'])
})

test('passes a stream on chunk by chunk', async () => {
  const { promise: goOn, resolve } = Promise.withResolvers<void>()
  const url = await serve(() => {
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(Buffer.from('first'))
        await goOn
        controller.enqueue(Buffer.from('second'))
        controller.close()
      },
    })
    return Promise.resolve(new Response(body))
  })
  const { body } = await fetch(url)
  const chunks: string[] = []
  for await (const chunk of body ?? []) {
    chunks.push(Buffer.from(chunk).toString())
    // The second is sent only because the first has arrived.
    resolve()
  }
  expect(chunks).toEqual(['first', 'second'])
})

test('hangs up on a body beyond its bound, and on an answer that fails', async () => {
  const asked: number[] = []
  const url = await serve(async (request) => {
    asked.push((await request.arrayBuffer()).byteLength)
    throw new Error('broken')
  })
  await expect(fetch(url, { method: 'POST', body: 'x' })).rejects.toThrow()
  await expect(fetch(url, { method: 'POST', body: 'x'.repeat(300_000) })).rejects.toThrow()
  expect(asked).toEqual([1])
})
