import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { serverTlsOptions, TrustBundles } from '@countersign/protocol/tls'
import { afterEach, expect, test } from 'vitest'
import { forge, forgeDomain, forgedAt } from '../../../../test/hostile/tls-forge.ts'
import { type FabricConnection, openFabricConnection } from './fabric-connection.ts'

const minute = 60_000
const { root, intermediate } = forgeDomain()
const goodFor = (minutes: number) =>
  forge({
    ...{ issuer: intermediate, uris: ['spiffe://a.test/fabric/gateway'] },
    notAfter: forgedAt + minutes * minute,
  })

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

async function openLineToFabric() {
  let [reached, connections, now] = [0, 0, forgedAt]
  const options = { requestPeer: 'none', alpn: ['http/1.1'] as const } as const
  const server = createServer(serverTlsOptions({ ...goodFor(10), ...options }), (_, response) => {
    reached += 1
    response.end('ok')
  })
  server.keepAliveTimeout = 600_000
  server.on('secureConnection', (socket: TLSSocket) => {
    connections += 1
    socket.on('error', () => undefined)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const bundles = new TrustBundles()
  bundles.set('a.test', { sequence: 1, roots: [root.certificate] })
  const connection: FabricConnection = openFabricConnection({
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ...{ trustDomain: 'a.test', bundles },
    clock: { now: () => now, monotonic: () => 0 },
  })
  closing.push(() => {
    connection.close()
    server.closeAllConnections()
    server.close()
  })
  return {
    bundles,
    later: (minutes: number) => void (now += minutes * minute),
    rotate: () => server.setSecureContext(serverTlsOptions({ ...goodFor(60), ...options })),
    seen: () => ({ reached, connections }),
    async ask() {
      const body = new Uint8Array(0)
      const head = { method: 'GET', path: '/', headers: [], body, repeatable: true } as const
      const response = await connection.request(head)
      for await (const _ of response.body);
    },
  }
}

test('a connection to the fabric that stands carries nothing once its root was removed', async () => {
  const { ask, bundles, seen } = await openLineToFabric()
  await ask()
  await ask()
  expect(seen()).toEqual({ reached: 2, connections: 1 })
  bundles.set('a.test', { sequence: 2, roots: [] })
  await expect(ask()).rejects.toMatchObject({ code: 'ROOT_MISMATCHED' })
  expect(seen().reached).toBe(2)
})

test('a connection to the fabric gives way to another once its certificate ended', async () => {
  const { ask, later, rotate, seen } = await openLineToFabric()
  await ask()
  later(15)
  await expect(ask()).rejects.toMatchObject({ code: 'ROOT_MISMATCHED' })
  rotate()
  await ask()
  expect(seen().reached).toBe(2)
})
