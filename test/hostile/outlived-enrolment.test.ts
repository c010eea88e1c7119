import type { KeyObject } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { askControl, type Identity, openIdentity } from '@countersign/sdk'
import { expect, vi } from 'vitest'
import { openFabricConnection } from '../../packages/sdk/src/connection/fabric-connection.ts'
import { acceptGrant, renew } from '../../packages/sdk/src/identity/enroll.ts'
import { findIdentity } from '../../packages/sdk/src/identity/identity-file.ts'
import { parseKeys } from '../../packages/sdk/src/identity/keys.ts'
import { parseTrustDocument } from '../../packages/sdk/src/identity/trust.ts'
import { type Attempt, attack, inOwnWorld, newName } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { type Door, field, refusalOf, send } from '../harness/doors.ts'
import { openMaliciousServer } from '../harness/malicious-server.ts'
import { expectHeard, expectRefusal } from '../harness/refusals.ts'
import { openStream, streaming } from '../harness/streams.ts'
import { tokenFor } from '../harness/tokens.ts'
import { openTestFabric, type World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const code = 'CREDENTIAL_REJECTED'

/** As an operator does after a theft: new keys on another machine, under the same name. */
async function enrolAgain({ dir, fabric, clock }: World, name: string): Promise<Identity> {
  const own = join(dir, `${name}-again`)
  mkdirSync(own, { recursive: true, mode: 0o700 })
  const order = { kind: 'agent', roles: ['caller', 'open'], segment: '', attributes: {} } as const
  const { join: line } = await fabric.invite({ ...order, name, ttlSeconds: 900 })
  return openIdentity({ join: line, dir: own, clock, onFault: () => undefined })
}

/** Returns the keys that a copy of the agent's folder gives. */
async function stolen({ dir, clock }: World, name: string) {
  const found = await findIdentity(join(dir, name))
  if (found === null) throw new Error(`no identity of ${name}`)
  const keys = parseKeys(found.keys)
  const { trustDomain } = parseTrustDocument(found.trust)
  const { credential } = await acceptGrant(found.granted, { keys, trustDomain, clock })
  return { keys, credential }
}

const isSame = (one: string | KeyObject, other: KeyObject): boolean =>
  typeof one !== 'string' && one.equals(other)

type Robbery = (at: {
  readonly world: World
  readonly thief: Identity
  readonly again: () => Promise<Identity>
}) => Promise<void>

/** The thief holds a copy of what the agent had before; `again` is the agent now. */
const robbed =
  (scene: Robbery): Attempt =>
  async (world) => {
    const name = newName('robbed')
    const thief = await world.agent(name, ['caller', 'open'])
    let enrolled: Identity | null = null
    try {
      await scene({
        world,
        thief,
        async again() {
          enrolled = await enrolAgain(world, name)
          return enrolled
        },
      })
    } finally {
      ;(enrolled as Identity | null)?.close()
    }
  }

const bearer = (token: string) =>
  ({ as: null, headers: [['Authorization', `Bearer ${token}`]] }) as const

const refusedAtOnce = (door: (world: World) => Door): Attempt =>
  robbed(async ({ world, thief, again }) => {
    const ask = (identity: Identity) => send(door(world), { as: identity.credential() })
    await vi.waitFor(async () => expect((await ask(thief)).status).toBe(200), deadline)
    const agent = await again()
    await vi.waitFor(async () => {
      const heard = await ask(thief).catch(() => null)
      if (heard !== null) expectHeard(heard, door(world).transport, code)
      expect((await ask(agent)).status).toBe(200)
    }, deadline)
  })

const streamCut = (transport: 'gateway' | 'mesh'): Attempt =>
  robbed(async ({ world, thief, again }) => {
    const as = thief.credential()
    await vi.waitFor(async () => {
      expect((await send(world[transport], { as })).status).toBe(200)
    }, deadline)
    await world.echo.during(streaming(['data: {"a":1}\n\n'], true), async () => {
      const stream = await openStream(world[transport], { as })
      await stream.until(/"a":1/)
      await again()
      const text = await stream.ended()
      expect(text).toContain('"code":"WITHDRAWN"')
      expect(text).toContain('credential-revoked')
    })
  })

attack(
  verifies(
    ['revoke:enrolment'],
    'anything stolen before an agent was enrolled again is worth nothing after it',
  ),
  {
    gateway: {
      'a certificate': refusedAtOnce((world) => world.gateway),
      'a stream': streamCut('gateway'),
      'a renewal': robbed(async ({ thief, again, world }) => {
        await thief.renew()
        await again()
        await expectRefusal(world, code, () => thief.renew())
      }),
      'a token by certificate or key, before and after': robbed(async ({ world, thief, again }) => {
        const tokens = [await tokenFor(thief), await tokenFor(thief, { isBound: true })]
        expect((await send(world.gateway, bearer(tokens[0] ?? ''))).status).toBe(200)
        const agent = await again()
        for (const order of [{}, { isBound: true }]) {
          await expect(tokenFor(thief, order)).rejects.toThrow('invalid_client')
          expect(await tokenFor(agent, order)).toMatch(/^ey/)
        }
        for (const token of tokens) {
          expectHeard(await send(world.gateway, bearer(token)), 'gateway', code)
        }
        const [, bound = ''] = tokens
        const heard = await send(world.gateway, { ...bearer(bound), as: thief.credential() })
        expectHeard(heard, 'gateway', code)
        const own = bearer(await tokenFor(agent))
        expect((await send(world.gateway, own)).status).toBe(200)
      }),
      'an address under its name': robbed(async ({ world, thief, again }) => {
        const answer = { status: 200, headers: [['content-type', 'application/json']], body: '{}' }
        let reached = 0
        const maliciousServer = await openMaliciousServer(thief, () => {
          reached += 1
          return answer as never
        })
        const ask = () => send(world.gateway, { to: thief.name })
        await vi.waitFor(async () => expect((await ask()).status).toBe(200), deadline)
        const agent = await again()
        const before = reached
        expect(refusalOf(await ask())).not.toBeNull()
        // The agent's own statement of that address does not help a holder of the earlier
        // certificate.
        const url = 'https://127.0.0.1:1'
        const value = { instance: 'x', endpoints: [{ url, protocol: 'auto', connector: false }] }
        const register = (identity: Identity, sent: object) =>
          askControl(identity.connection, {
            method: 'POST',
            path: '/v1/mesh/endpoints',
            value: sent,
          })
        await expectRefusal(world, code, () => register(thief, { ...value, ttlSeconds: 60 }))
        const { url: at } = maliciousServer
        const theirs = [{ url: at, protocol: 'auto', connector: false }]
        await register(agent, { instance: 'y', endpoints: theirs, ttlSeconds: 60 })
        const heard = await ask()
        expect(refusalOf(heard)).toBe('RECEIVER_UNREACHABLE')
        expect(field(heard, 'countersign-may-have-acted')).toBe('false')
        expect(reached).toBe(before)
        await maliciousServer.stop()
      }),
      'after the fabric was started again': () =>
        inOwnWorld(
          { receivers: ['echo'] },
          robbed(async ({ world, thief, again }) => {
            const agent = await again()
            await world.fabric.close(0)
            const limits = { requestsPerMinute: 1_000, refusalsPerMinute: 1_000 }
            const fabric = await openTestFabric(world.dir, world.clock, limits)
            try {
              const { host, port } = new URL(fabric.origin)
              const door: Door = {
                ...world.gateway,
                place: (to, path) =>
                  Promise.resolve({
                    authority: host,
                    port: Number(port),
                    path: `/agents/${to}${path}`,
                  }),
              }
              expectHeard(await send(door, { as: thief.credential() }), 'gateway', code)
              expect(refusalOf(await send(door, { as: agent.credential() }))).not.toBe(code)
            } finally {
              await fabric.close(0)
            }
          }),
        ),
      'a second line of renewals, once the agent has renewed what it got': async (world) => {
        const agent = await world.agent('forked', ['caller'])
        const copy = join(world.dir, 'forked')
        const thief = await openIdentity({
          join: undefined,
          dir: copy,
          clock: world.clock,
          onFault: () => undefined,
        })
        try {
          // Both hold the first certificate; an answer can be lost, so that it is renewed again.
          await thief.renew()
          await agent.renew()
          await agent.renew()
          await expectRefusal(world, code, () => thief.renew())
          await agent.renew()
        } finally {
          thief.close()
        }
      },
      'a second line of renewals, however often one certificate was renewed before': async (
        world,
      ) => {
        const agent = await world.agent('flooded', ['caller'])
        const { connection: line, trustDomain } = agent
        const { keys, credential } = await stolen(world, 'flooded')
        const { signal } = new AbortController()
        const renewals: unknown[] = []
        for (let count = 0; count < 70; count++) {
          renewals.push(await renew(line, keys, credential, signal))
        }
        await agent.renew()
        await agent.renew()
        for (const answer of [renewals[0], renewals.at(-1)]) {
          const granted = await acceptGrant(answer, { keys, trustDomain, clock: world.clock })
          const own = openFabricConnection({
            ...{ url: agent.url, trustDomain, bundles: agent.bundles, clock: world.clock },
            credential: granted.credential,
          })
          await expectRefusal(world, code, () => renew(own, keys, granted.credential, signal))
          own.close()
        }
        // The flood of one agent is its own: others renew as before.
        await (await world.agent('untouched', ['caller'])).renew()
        await agent.renew()
      },
      'the newest certificate, which a server shows, with a key that was stolen before': async (
        world,
      ) => {
        const agent = await world.agent('served', ['caller'])
        const { keys, credential } = await stolen(world, 'served')
        await agent.renew()
        const { certificateChain, privateKey } = agent.credential()
        expect(isSame(privateKey, keys.tls)).toBe(false)
        expect(isSame(credential.privateKey, keys.tls)).toBe(true)
        const as = { certificateChain, privateKey: keys.tls }
        await expect(send(world.gateway, { as })).rejects.toThrow(/key values mismatch/)
        // The stored keys are the ones in use after a restart.
        const { keys: later } = await stolen(world, 'served')
        expect(isSame(privateKey, later.tls)).toBe(true)
        expect(later.signing.equals(keys.signing)).toBe(true)
      },
    },
    mesh: {
      'a certificate': refusedAtOnce((world) => world.mesh),
      'a stream': streamCut('mesh'),
    },
    queue: 'every request to a channel is one to the gateway',
  },
)
