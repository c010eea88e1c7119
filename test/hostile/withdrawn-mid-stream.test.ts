import { join } from 'node:path'
import { expect, vi } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { deadline } from '../harness/deadline.ts'
import { expectOutcome } from '../harness/refusals.ts'
import { openOtherProcess } from '../harness/state-process.ts'
import { openStream, streaming } from '../harness/streams.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** A policy that still permits it, and asks for more than was asked when the stream began. */
const asksFor =
  (obligation: string) =>
  (world: World, name: string): Promise<unknown> =>
    world.admin('policy.put', {
      name: `${name}.cedar`,
      text: `@id("${name}")\n${obligation}\npermit(principal == Agent::"${name}", action, resource);`,
    })

const taken: Readonly<Record<string, (world: World, name: string) => Promise<unknown>>> = {
  quarantined: (world, name) => world.admin('agent.quarantine', { name, reason: 'told to' }),
  revoked: (world, name) => world.admin('agent.revoke', { name, reason: 'told to' }),
  'quarantined by another process with the same state': async (world, name) => {
    const { directory, stream } = await openOtherProcess(join(world.dir, 'data', 'state.db'))
    const quarantined = { status: 'quarantined', statusReason: 'told to' } as const
    await directory.update(name, (present) => present && { ...present, ...quarantined })
    await stream.close()
  },
  'forbidden by a new policy': (world, name) =>
    world.admin('policy.put', {
      name: `${name}.cedar`,
      text: `@id("${name}")\nforbid(principal == Agent::"${name}", action, resource);`,
    }),
  'to be signed by a new policy': asksFor('@sign("request")'),
  'to be countersigned by a new policy': asksFor('@sign("response")'),
  'to be masked by a new policy': asksFor('@mask("card")'),
  'to be blocked by a new policy': asksFor('@block("card")'),
}

const withdraw =
  (transport: 'gateway' | 'mesh', way: string): Attempt =>
  async (world) => {
    const name = `${way.replaceAll(' ', '-').slice(0, 40)}-${transport}`
    const agent = await world.agent(name, ['caller'])
    // The receiver has nothing more to send, so only the withdrawal can end the stream.
    const heard = await world.echo.during(streaming(['data: {"a":1}\n\n'], true), async () => {
      // A connector learns of a new agent by its long poll, and refuses it until then.
      const stream = await vi.waitFor(async () => {
        const opened = await openStream(world[transport], { as: agent.credential() })
        expect(await opened.until(/"a":1|refusal/)).toContain('data: {"a":1}')
        return opened
      }, deadline)
      await taken[way]?.(world, name)
      const text = await stream.ended()
      stream.close()
      return text
    })
    expect(heard).toContain('"code":"WITHDRAWN"')
    const [, exchange = ''] = /countersign-exchange: (\S+)/.exec(heard) ?? []
    expectOutcome(await world.explain(exchange), 'WITHDRAWN')
  }

const onEach = (transport: 'gateway' | 'mesh') =>
  Object.fromEntries(Object.keys(taken).map((way) => [way, withdraw(transport, way)]))

attack(
  verifies(
    ['revoke:live', 'authenticate:quarantine@gateway', 'authenticate:quarantine@mesh'],
    'a stream does not outlive the right to it',
  ),
  {
    gateway: {
      ...onEach('gateway'),
      'with a key that is revoked': async (world) => {
        const { name: agent } = await world.agent('keyed-stream', ['caller'])
        const made = await world.admin('key.create', { agent })
        const { key, prefix } = made as { key: string; prefix: string }
        const heard = await world.echo.during(streaming(['data: {"a":1}\n\n'], true), async () => {
          const headers = [['X-Api-Key', key]] as const
          const stream = await openStream(world.gateway, { as: null, headers })
          await stream.until(/"a":1/)
          await world.admin('key.revoke', { prefix })
          const text = await stream.ended()
          stream.close()
          return text
        })
        expect(heard).toContain('"code":"WITHDRAWN"')
      },
      'with a token that ends': async (world) => {
        const agent = await world.agent('expiring-stream', ['caller'])
        const more = Promise.withResolvers<void>()
        const heard = await world.echo.during(
          (_, response) => {
            response.writeHead(200, { 'content-type': 'text/event-stream' })
            response.write('data: {"a":1}\n\n')
            more.promise.then(() => response.write('data: {"b":2}\n\n')).catch(() => undefined)
          },
          async () => {
            const stream = await openStream(world.gateway, { as: agent.credential() })
            await stream.until(/"a":1/)
            const text = await world.clock.later(8 * 86_400_000, () => {
              more.resolve()
              return stream.ended()
            })
            stream.close()
            return text
          },
        )
        expect(heard).not.toContain('"b":2')
        expect(heard).toContain('"code":"WITHDRAWN"')
      },
    },
    mesh: onEach('mesh'),
    queue: 'a channel hands over whole messages',
  },
)
