import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { sendBody } from './send-body.ts'

test('a body ends with its answer, where its peer would read on', async () => {
  // Node discards the rest of the request, and keeps the connection.
  const server = createServer((_, response) => response.end('enough'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const { port } = server.address() as AddressInfo
    let isStopped = false
    const stop = () => {
      isStopped = true
    }
    const out = request({ host: '127.0.0.1', port, method: 'POST' })
    const answered = new Promise<string>((resolve, reject) => {
      out.on('error', reject)
      out.on('response', (response) => {
        response.setEncoding('utf8')
        response.on('data', resolve)
      })
    })
    const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
    const endless = { next: () => turn().then(() => new Uint8Array(1_000)), stop }
    sendBody(out, endless, () => Promise.resolve())
    expect(await answered).toBe('enough')
    await expect.poll(() => isStopped).toBe(true)
    expect(out.destroyed).toBe(true)
  } finally {
    server.closeAllConnections()
    server.close()
  }
})
