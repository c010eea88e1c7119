import { type ClientHttp2Session, connect, createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import type { NodeRequest } from '../http/incoming.ts'
import { ArrivingBodies, type ArrivingBodiesOptions } from './arriving-bodies.ts'

interface Scene {
  readonly bodies: ArrivingBodies
  readonly client: ClientHttp2Session
}

/** A listener that reads each body whole, and answers with its length. */
async function inScene(
  options: ArrivingBodiesOptions,
  isStranger: boolean,
  play: (scene: Scene) => Promise<void>,
): Promise<void> {
  const bodies = new ArrivingBodies(options)
  const server = createServer((request, response) => {
    const done = bodies.watch(request, isStranger)
    lengthOf(request)
      .finally(done)
      .then((length) => response.end(String(length)))
      .catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  try {
    await play({ bodies, client })
  } finally {
    client.destroy()
    server.close()
  }
}

async function lengthOf(request: NodeRequest): Promise<number> {
  let length = 0
  for await (const chunk of request as AsyncIterable<Uint8Array>) length += chunk.length
  return length
}

/** What is answered to a body of that many bytes, or null when the stream is broken off. */
function answerTo(client: ClientHttp2Session, length: number, isWhole: boolean) {
  return new Promise<string | null>((resolve) => {
    const stream = client.request({ ':method': 'POST', ':path': '/' })
    let heard = ''
    stream.setEncoding('utf8').on('data', (text: string) => {
      heard += text
    })
    stream.on('error', () => undefined)
    stream.once('close', () => resolve(heard === '' ? null : heard))
    if (isWhole) stream.end(Buffer.alloc(length))
    else stream.write(Buffer.alloc(length))
  })
}

test('a body that is never whole is broken off, and what it held is free again', () =>
  inScene({ strangerBytesMax: 1000, timeoutMs: 50 }, true, async ({ bodies, client }) => {
    expect(await answerTo(client, 10, false)).toBeNull()
    expect(bodies.strangerBytes).toBe(0)
    expect(await answerTo(client, 10, true)).toBe('10')
  }))

test('strangers hold no more together than their share', () =>
  inScene({ strangerBytesMax: 1000, timeoutMs: 60_000 }, true, async ({ bodies, client }) => {
    expect(await answerTo(client, 1001, true)).toBeNull()
    expect(bodies.strangerBytes).toBe(0)
    expect(await answerTo(client, 1000, true)).toBe('1000')
  }))

test('whoever shows a certificate takes no share', () =>
  inScene({ strangerBytesMax: 10, timeoutMs: 60_000 }, false, async ({ bodies, client }) => {
    expect(await answerTo(client, 1000, true)).toBe('1000')
    expect(bodies.strangerBytes).toBe(0)
  }))
