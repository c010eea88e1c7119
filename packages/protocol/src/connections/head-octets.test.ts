import { once } from 'node:events'
import { type ClientHttp2Session, connect, createServer, type Http2Server } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { fewestHeadOctets, fewestReferringOctets } from './head-octets.ts'

let server: Http2Server
let client: ClientHttp2Session
let socket: Socket
let heads: string[][] = []

beforeAll(async () => {
  server = createServer({ settings: { headerTableSize: 0 } })
  server.on('session', (session) => (socket = session.socket))
  server.on('request', (request, response) => {
    heads.push(request.rawHeaders)
    response.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  await once(client, 'remoteSettings')
  // The first request carries the new size of the table, and the acknowledgement comes before it.
  await ask({})
})

afterAll(() => {
  client.close()
  server.close()
})

async function ask(fields: Readonly<Record<string, string>>): Promise<void> {
  const stream = client.request({ ':path': '/', ...fields })
  stream.resume()
  await once(stream, 'close')
}

const name = fc.stringMatching(/^x-[a-z0-9-]{1,30}$/)
const value = fc.oneof(
  fc.stringMatching(/^[!-~]([ -~]{0,200}[!-~])?$/),
  fc.stringMatching(/^[A-Za-z0-9+/=]{1,300}$/),
  fc.constantFrom('', 'GET', 'gzip, deflate', 'application/json'),
)

test('a head is never counted as more than it takes on the wire, nor as much less', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.dictionary(
        fc.oneof(name, fc.constantFrom('accept', 'accept-encoding', 'user-agent')),
        value,
        {
          maxKeys: 10,
        },
      ),
      async (fields) => {
        heads = []
        const before = socket.bytesRead
        await ask(fields)
        const taken = socket.bytesRead - before
        const head = heads[0] ?? []
        const counted = fewestHeadOctets(head)
        expect(counted).toBeLessThanOrEqual(taken)
        // Lengths of strings of 127 octets and more, and frames that move windows.
        expect(counted).toBeGreaterThanOrEqual(taken - head.length - 40)
        expect(fewestReferringOctets(head)).toBeLessThanOrEqual(counted)
      },
    ),
  )
})
