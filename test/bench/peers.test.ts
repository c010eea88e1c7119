import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Credentials, writeCredentials } from '../../bench/peers/credentials.ts'
import { envoyConfiguration } from '../../bench/peers/envoy.ts'
import { haproxyConfiguration } from '../../bench/peers/haproxy.ts'
import { PEERS } from '../../bench/peers/peers.ts'
import { freePort } from '../../bench/peers/program.ts'
import { checkFaults } from '../../bench/peers/refusals.ts'

const dir = mkdtempSync(join(tmpdir(), 'countersign-peers-'))
const receiver = createServer((request, response) => {
  request.resume()
  response.end('{}')
})
let credentials: Credentials
let upstream = ''

beforeAll(async () => {
  credentials = await writeCredentials(join(dir, 'credentials'))
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  upstream = `127.0.0.1:${(receiver.address() as AddressInfo).port}`
})

afterAll(() => {
  receiver.close()
  rmSync(dir, { recursive: true, force: true })
})

describe.each(PEERS)('$name', (peer) => {
  const path = peer.find()

  test.skipIf(path === null)(
    'accepts its configuration, and speaks HTTP/2 as the gateway does',
    async () => {
      const port = await freePort()
      const program = await peer.start(path ?? '', { dir, port, upstream }, credentials)
      try {
        expect(await protocolOf(port)).toBe('h2')
        const faults = await checkFaults(port, credentials)
        if (peer.isChecking) expect(faults).toEqual([])
        else expect(faults).toContain('an expired token: 200 instead of 401')
      } finally {
        await program.stop()
      }
    },
  )
})

test('a peer that asks for a certificate and checks nothing else is found out', async () => {
  const { server, ca } = credentials
  const tls = { cert: readFileSync(server.cert), key: readFileSync(server.key) }
  const careless = createTlsServer(
    { ...tls, ca: readFileSync(ca), requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      request.resume()
      response.end()
    },
  )
  await new Promise<void>((resolve) => careless.listen(0, '127.0.0.1', resolve))
  try {
    const faults = await checkFaults((careless.address() as AddressInfo).port, credentials)
    expect(faults).toEqual([
      'no token: 200 instead of 401',
      'an expired token: 200 instead of 401',
      'a forged token: 200 instead of 401',
      'the certificate of another agent: 200 instead of 403',
      'another path: 200 instead of 403',
      'another method: 200 instead of 403',
    ])
  } finally {
    careless.closeAllConnections()
    careless.close()
  }
})

test('Envoy keeps verified tokens only where its row says so', () => {
  const place = { dir, port: 4000, upstream: '127.0.0.1:4001' }
  const text = (tokens: 'each' | 'cached') =>
    JSON.stringify(envoyConfiguration(place, credentials, tokens))
  expect(text('cached')).toContain('"jwt_cache_config":{"jwt_cache_size":1000}')
  expect(text('each')).not.toContain('jwt_cache')
})

test('HAProxy asks for a certificate, and refuses by token before it refuses by identity', () => {
  const text = haproxyConfiguration({ dir, port: 4000, upstream: '127.0.0.1:4001' }, credentials)
  expect(text).toContain(`ca-file ${credentials.ca} verify required`)
  const rules = text.match(/deny deny_status \d+/g) ?? []
  expect(rules).toEqual([...Array(5).fill('deny deny_status 401'), 'deny deny_status 403'])
})

function protocolOf(port: number): Promise<string | false | null> {
  const { ca, caller } = credentials
  const [authority, cert, key] = [ca, caller.cert, caller.key].map((file) => readFileSync(file))
  const ALPNProtocols = ['http/1.1', 'h2']
  const options = { host: 'localhost', port, ca: authority, cert, key, ALPNProtocols }
  return new Promise((resolve, reject) => {
    const socket = connect(options, () => {
      resolve(socket.alpnProtocol)
      socket.destroy()
    }).on('error', reject)
  })
}
