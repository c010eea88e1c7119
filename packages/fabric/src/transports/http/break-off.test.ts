import { connect, createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { breakOff } from '@countersign/protocol/tls'
import { expect, test } from 'vitest'
import { deadline } from '../../../../../test/harness/deadline.ts'
import { openFrameWatch } from '../../../../../test/harness/frame-watch.ts'

test('a stream that breaks off is reset, has no end, and keeps what was written before', async () => {
  const server = createServer()
  server.on('request', (_, response) => {
    response.stream.on('error', () => undefined)
    response.write('a part')
    void breakOff(response)
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
