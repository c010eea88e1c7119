import { connect, createServer, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { breakOffStream } from '@countersign/protocol/tls'
import { expect, test } from 'vitest'
import { deadline } from '../../../../../test/harness/deadline.ts'
import { openFrameWatch } from '../../../../../test/harness/frame-watch.ts'

test('a stream that breaks off is reset, has no end, and keeps what was written before', async () => {
  const server = createServer()
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => undefined)
    stream.respond({ ':status': 200 })
    stream.write('a part')
    void breakOffStream(stream)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const watch = await openFrameWatch((server.address() as AddressInfo).port)
  const session = connect(`http://127.0.0.1:${watch.port}`)
  session.on('error', () => undefined)
  const stream = session.request({ ':path': '/' })
  const parts: string[] = []
  stream.on('error', () => undefined)
  stream.on('data', (part: Buffer) => parts.push(part.toString()))
  await expect.poll(watch.answers, deadline).toEqual(['reset'])
  expect(parts.join('')).toBe('a part')
  session.destroy()
  watch.close()
  server.close()
})
