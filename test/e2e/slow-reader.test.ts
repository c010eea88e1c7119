import {
  createServer,
  get,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import { connect } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openWorld, type World } from '../harness/world.ts'

const eventBytes = 64 * 1024
const events = 2_000
/**
 * Far below the 125 MB that the receiver has to send, and well above what buffers on the way hold.
 */
const writtenBytesMax = 24 * 1024 * 1024

let world: World
let receiver: Server
let written = 0

/** Sends more than anything on the way could hold, as fast as it is taken. */
async function pour(response: ServerResponse): Promise<void> {
  response.setHeader('content-type', 'text/event-stream')
  const event = `data: ${'x'.repeat(eventBytes)}\n\n`
  for (let i = 0; i < events && !response.destroyed; i++) {
    if (!response.write(event)) await new Promise((resolve) => response.once('drain', resolve))
    written += event.length
  }
  response.end()
}

/** Waits until something was taken, and then until nothing is taken any more. */
async function settled(): Promise<void> {
  await expect.poll(() => written).toBeGreaterThan(0)
  for (let [before, quiet] = [written, 0]; quiet < 20; before = written) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    quiet = written === before ? quiet + 1 : 0
  }
}

beforeAll(async () => {
  world = await openWorld()
  receiver = createServer((_, response) => void pour(response)).listen(0, '127.0.0.1')
  await new Promise((resolve) => receiver.once('listening', resolve))
  const { port } = receiver.address() as AddressInfo
  await world.admin('route.put', { name: 'echo', upstream: `http://127.0.0.1:${port}` })
})

afterAll(async () => {
  receiver.closeAllConnections()
  receiver.close()
  await world.close()
})

describe('a caller that does not read', () => {
  test('slows its receiver down instead of filling our memory [deliver:rate-of-writing@gateway]', async () => {
    const { key } = (await world.admin('key.create', { agent: 'caller' })) as { key: string }
    const session = connect(world.fabric.origin, { ca: world.fabric.rootPem })
    const stream = session.request({ ':path': '/agents/echo/', 'x-api-key': key })
    await new Promise((resolve) => stream.once('response', resolve))
    stream.pause()
    await settled()
    expect(written).toBeGreaterThan(0)
    expect(written).toBeLessThan(writtenBytesMax)
    session.destroy()
  })

  test('slows it down through two connectors as well [deliver:rate-of-writing@mesh]', async () => {
    written = 0
    await world.connectors.of('echo')
    const { authority, path } = await world.connectors.loopback('caller', 'echo', '/')
    await world.echo.during(
      (_, response) => void pour(response),
      async () => {
        const request = get(`http://${authority}${path}`)
        const response = await new Promise<IncomingMessage>((resolve) =>
          request.once('response', resolve),
        )
        response.pause()
        await settled()
        expect(response.statusCode).toBe(200)
        expect(written).toBeGreaterThan(0)
        expect(written).toBeLessThan(writtenBytesMax)
        request.destroy()
      },
    )
  })
})
