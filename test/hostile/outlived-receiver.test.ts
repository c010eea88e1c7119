import { cpSync, mkdirSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { serverTlsOptions } from '@countersign/protocol/tls'
import { askControl, type Identity, openIdentity } from '@countersign/sdk'
import { expect, vi } from 'vitest'
import { attack, inOwnWorld } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { field, refusalOf, send } from '../harness/doors.ts'
import { withOwnConnector } from '../harness/own-connector.ts'
import { openStream } from '../harness/streams.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const minute = 60_000

/**
 * Serves at an address of the victim's with the certificate of a copied folder, and keeps
 * connections.
 */
async function openThief(victim: Identity, connector: boolean) {
  let reached = 0
  let connections = 0
  let by = ''
  const tls = serverTlsOptions({
    ...victim.credential(),
    ...{ requestPeer: 'required', alpn: ['http/1.1'] as const },
  })
  const server: Server = createServer(tls, (request, response) => {
    reached += 1
    by = (request.socket as TLSSocket).getPeerCertificate().subjectaltname ?? ''
    request.resume()
    if (request.url?.endsWith('/stream') === true) {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"a":1}\n\n')
    } else {
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"thief":true}')
    }
  })
  server.keepAliveTimeout = 600_000
  server.on('secureConnection', () => (connections += 1))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  const endpoints = [{ url, protocol: 'auto', connector }]
  await askControl(victim.connection, {
    ...{ method: 'POST', path: '/v1/mesh/endpoints' },
    value: { instance: 'thief', endpoints, ttlSeconds: 3600 },
  })
  return {
    seen: () => ({ reached, connections }),
    /** The last caller that reached it. */
    by: () => by,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const withThief = async (
  victim: Identity,
  connector: boolean,
  scene: (thief: Awaited<ReturnType<typeof openThief>>) => Promise<void>,
): Promise<void> => {
  const thief = await openThief(victim, connector)
  try {
    await scene(thief)
  } finally {
    await thief.close()
  }
}

/** The agent itself, on new keys. */
async function enrolAgain(world: World, name: string): Promise<Identity> {
  const dir = join(world.dir, `${name}-again`)
  mkdirSync(dir, { mode: 0o700 })
  const order = { name, kind: 'agent', roles: ['open'], segment: '', attributes: {} } as const
  const line = await world.fabric.invite({ ...order, ttlSeconds: 900 })
  return openIdentity({ join: line.join, dir, clock: world.clock, onFault: () => undefined })
}

/** The holder of a copy keeps its certificate; the agent itself renews, or does not. */
const atTheGateway = (isRenewed: boolean) => () =>
  inOwnWorld({ receivers: ['echo'] }, async (world) => {
    const victim = await world.agent('victim', ['open'])
    const dir = join(world.dir, 'copied')
    cpSync(join(world.dir, 'victim'), dir, { recursive: true })
    const { clock, caller } = world
    const copied = await openIdentity({ join: undefined, dir, clock, onFault: () => undefined })
    await clock.later(50 * minute, () =>
      withThief(copied, false, async (thief) => {
        const ask = () => send(world.gateway, { to: 'victim', as: caller.credential() })
        expect((await ask()).body.toString()).toContain('thief')
        await caller.renew()
        if (isRenewed) await victim.renew()
        expect(thief.seen()).toEqual({ reached: 1, connections: 1 })
        await clock.later(15 * minute, async () => {
          // The connection stands, and its certificate has ended.
          const heard = await ask()
          expect(refusalOf(heard)).toBe('RECEIVER_UNREACHABLE')
          expect(field(heard, 'countersign-may-have-acted')).toBe('false')
          expect(thief.seen().reached).toBe(1)
        })
      }),
    )
    copied.close()
  })

attack(
  verifies(
    ['authenticate:expiry', 'revoke:enrolment'],
    'a connection to a receiver does not outlive what the receiver proved by it',
  ),
  {
    gateway: {
      'after its certificate ended': atTheGateway(false),
      'after its certificate ended, and the agent renewed its own': atTheGateway(true),
      'with an answer under way, when the agent enrolled again': () =>
        inOwnWorld({ receivers: ['echo'] }, async (world) => {
          const victim = await world.agent('victim', ['open'])
          await withThief(victim, false, async (thief) => {
            const draft = { to: 'victim', path: '/stream' }
            const stream = await openStream(world.gateway, draft)
            await stream.until(/"a":1/)
            const again = await enrolAgain(world, 'victim')
            expect(await stream.ended()).toContain('OUTCOME_UNKNOWN')
            expect(thief.seen().reached).toBe(1)
            again.close()
          })
        }),
    },
    mesh: {
      'after its certificate ended': () =>
        inOwnWorld({ receivers: ['echo'] }, async (world) => {
          const victim = await world.agent('victim', ['open'])
          let laterMs = 0
          // The fabric's own certificate is as old: it stays good in a world that is not as late.
          const trust = { now: () => world.clock.now() + laterMs }
          await world.clock.later(50 * minute, async () => {
            const reader = await world.agent('reader', ['caller', 'open'])
            await withOwnConnector(
              world,
              { name: reader.name, trust: (honest) => ({ ...honest, ...trust }) },
              ({ connector }) =>
                withThief(victim, true, async (thief) => {
                  const ask = () => fetch(`${connector.loopbackUrl}/victim/`)
                  await vi.waitFor(async () => {
                    await (await ask()).text()
                    // Before the connector has learned of the address, the gateway calls there.
                    expect(thief.by()).toContain('/agent/reader')
                  }, deadline)
                  const before = thief.seen()
                  laterMs = 15 * minute
                  const heard = await ask()
                  expect(heard.headers.get('countersign-refusal')).toBe('RECEIVER_UNREACHABLE')
                  expect(heard.headers.get('countersign-may-have-acted')).toBe('false')
                  expect(thief.seen().reached).toBe(before.reached)
                }),
            )
          })
        }),
    },
    queue: 'members come in by the gateway',
  },
)
