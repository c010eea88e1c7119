import { connect, createServer, type Http2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { breakOff } from '@countersign/protocol/tls'
import { expect, test } from 'vitest'
import { openFrameWatch } from '../../../../../test/harness/frame-watch.ts'

// Node hands the first part to the session at once and keeps the others until that one is written.
const parts = ['a ', 'whole ', 'part']

// Only a stream that waits for trailers, which a response does, gets no end from `close`.
const respond: Readonly<Record<string, (server: Http2Server) => void>> = {
  response: (server) => {
    server.on('request', (_, response) => {
      response.stream.on('error', () => undefined)
      for (const part of parts) response.write(part)
      void breakOff(response)
    })
  },
  'stream without trailers': (server) => {
    server.on('stream', (stream) => {
      stream.on('error', () => undefined)
      stream.respond({ ':status': 200 })
      for (const part of parts) stream.write(part)
      void breakOff({ stream })
    })
  },
}

test.each(Object.entries(respond))(
  'a %s that breaks off is reset, has no end, and keeps what was written before',
  async (_, listen) => {
    const server = createServer()
    listen(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const watch = await openFrameWatch((server.address() as AddressInfo).port)
    const session = connect(`http://127.0.0.1:${watch.port}`)
    session.on('error', () => undefined)
    const stream = session.request({ ':path': '/' })
    const received: string[] = []
    stream.on('error', () => undefined)
    stream.on('data', (part: Buffer) => received.push(part.toString()))
    await new Promise<void>((resolve) => stream.on('close', resolve))
    expect(watch.answers()).toEqual(['reset'])
    expect(received.join('')).toBe(parts.join(''))
    session.destroy()
    watch.close()
    server.close()
  },
)
