import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { type Identity, openIdentity } from '@countersign/sdk'
import { expect, vi } from 'vitest'
import { type Attempt, attack, inOwnWorld } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { send } from '../harness/doors.ts'
import { expectHeard, expectRefusal } from '../harness/refusals.ts'
import { openStream } from '../harness/streams.ts'
import { verifies } from '../requirements.ts'

const minute = 60_000

/** A stream of the agent `renewing`, and an event of the receiver whenever `more` is asked for. */
const onStream =
  (
    transport: 'gateway' | 'mesh',
    scene: (at: {
      readonly world: Parameters<Attempt>[0]
      readonly stream: Awaited<ReturnType<typeof openStream>>
      readonly more: (text: string) => void
    }) => Promise<void>,
  ): Attempt =>
  () =>
    inOwnWorld({ receivers: ['echo'] }, async (world) => {
      const agent = await world.agent('renewing', ['caller'])
      const as = agent.credential()
      await vi.waitFor(async () => {
        expect((await send(world[transport], { as })).status).toBe(200)
      }, deadline)
      let more: (text: string) => void = () => undefined
      let opened = 0
      await world.echo.during(
        (_, response) => {
          if (opened++ > 0) return void response.end('{}')
          response.writeHead(200, { 'content-type': 'text/event-stream' })
          response.write('data: {"a":1}\n\n')
          more = (text) => void response.write(`data: ${text}\n\n`)
        },
        async () => {
          const stream = await openStream(world[transport], { as })
          await stream.until(/"a":1/)
          await scene({ world, stream, more: (text) => more(text) })
          stream.close()
        },
      )
    })

/** Makes the connector learn of what changed: a new agent is a change that reaches it at once. */
async function tell(world: Parameters<Attempt>[0], name = 'newcomer'): Promise<void> {
  const agent = await world.agent(name, ['caller'])
  await vi.waitFor(async () => {
    const heard = await send(world.mesh, { as: agent.credential() })
    expect(heard.headers.get('countersign-refusal')).toBeUndefined()
  }, deadline)
}

const goesOn = (transport: 'gateway' | 'mesh') =>
  onStream(transport, async ({ world, stream, more }) => {
    const agent = await world.agent('renewing')
    const before = agent.credential()
    // The connector's own certificate has to stay good.
    const receiver = await world.agent('echo')
    await world.clock.later(31 * minute, async () => {
      await agent.renew()
      await receiver.renew()
      if (transport === 'mesh') await tell(world)
    })
    await world.clock.later(70 * minute, async () => {
      more('{"b":2}')
      expect(await stream.until(/"b":2|refusal/)).toContain('"b":2')
    })
    // An ended certificate opens nothing new: only what began under it goes on.
    await world.clock.later(70 * minute, async () => {
      const heard = await send(world[transport], { as: before }).catch(() => null)
      // A connector ends the connection at its handshake; the gateway states why.
      if (transport === 'mesh') expect(heard).toBeNull()
      else if (heard === null) throw new Error('no answer')
      else expectHeard(heard, transport, 'CREDENTIAL_EXPIRED')
    })
    await world.clock.later(85 * minute, () => receiver.renew())
    await world.clock.later(100 * minute, async () => {
      more('{"c":3}')
      const heard = await stream.ended()
      expect(heard).not.toContain('"c":3')
      expect(heard).toContain('"reason":"credential-expired","reconnect":true')
    })
  })

/** A thief copies the agent's folder, renews, and opens a stream; the agent's own line goes on. */
const endsWithItself =
  (transport: 'gateway' | 'mesh'): Attempt =>
  () =>
    inOwnWorld({ receivers: ['echo'] }, async (world) => {
      const agent = await world.agent('renewing', ['caller'])
      const receiver = await world.agent('echo')
      const dir = join(world.dir, 'renewing-stolen')
      cpSync(join(world.dir, 'renewing'), dir, { recursive: true })
      const { clock } = world
      const thief: Identity = await openIdentity({
        ...{ join: undefined, dir, clock, onFault: () => undefined },
      })
      let more: (text: string) => void = () => undefined
      let opened = 0
      try {
        await thief.renew()
        await tell(world)
        await world.echo.during(
          (_, response) => {
            if (opened++ > 0) return void response.end('{}')
            response.writeHead(200, { 'content-type': 'text/event-stream' })
            response.write('data: {"a":1}\n\n')
            more = (text) => void response.write(`data: ${text}\n\n`)
          },
          async () => {
            const stream = await openStream(world[transport], { as: thief.credential() })
            await stream.until(/"a":1/)
            await clock.later(31 * minute, async () => {
              await agent.renew()
              await agent.renew()
              await receiver.renew()
              await expectRefusal(world, 'CREDENTIAL_REJECTED', () => thief.renew())
              if (transport === 'mesh') await tell(world, 'another')
            })
            await clock.later(70 * minute, async () => {
              more('{"b":2}')
              const heard = await stream.ended()
              expect(heard).not.toContain('"b":2')
              expect(heard).toContain('"reason":"credential-expired"')
            })
            stream.close()
          },
        )
      } finally {
        thief.close()
      }
    })

attack(
  verifies(
    ['revoke:follows-renewal', 'authenticate:rotation'],
    'a stream lives as long as the identity that opened it, not longer',
  ),
  {
    gateway: {
      'goes on with a renewed certificate, and ends with the last': goesOn('gateway'),
      'of a superseded certificate ends with it, whatever is renewed next to it':
        endsWithItself('gateway'),
      'ends when its agent is revoked, however often it was renewed': onStream(
        'gateway',
        async ({ world, stream }) => {
          await (await world.agent('renewing')).renew()
          await world.admin('agent.revoke', { name: 'renewing', reason: 'told to' })
          expect(await stream.ended()).toContain('"reason":"caller-revoked","reconnect":false')
        },
      ),
      'does not go on with a certificate of another enrolment': onStream(
        'gateway',
        async ({ world, stream, more }) => {
          const order = { name: 'renewing', kind: 'agent', roles: ['caller'], segment: '' } as const
          const { join } = await world.fabric.invite({ ...order, attributes: {}, ttlSeconds: 900 })
          const { openIdentity } = await import('@countersign/sdk')
          const dir = `${world.dir}/renewing-again`
          const { mkdirSync } = await import('node:fs')
          mkdirSync(dir, { mode: 0o700 })
          const { clock } = world
          const again = await openIdentity({ join, dir, clock, onFault: () => undefined })
          more('{"b":2}')
          const heard = await stream.ended()
          expect(heard).not.toContain('"b":2')
          expect(heard).toContain('"reason":"credential-revoked"')
          again.close()
        },
      ),
    },
    mesh: {
      'goes on with a renewed certificate, and ends with the last': goesOn('mesh'),
      'of a superseded certificate ends with it, whatever is renewed next to it':
        endsWithItself('mesh'),
    },
    queue: 'a channel hands over whole messages',
  },
)
