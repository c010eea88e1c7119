import type { RefusalCode } from '@countersign/protocol'
import { expect } from 'vitest'
import { type Attempt, attack, newName, worldOfFile } from '../harness/attack.ts'
import { openHall } from '../harness/channels.ts'
import { type Door, defaultBody, type HeaderList, type Place, send } from '../harness/doors.ts'
import { sendHalf } from '../harness/half-sent.ts'
import { exchangeOf, expectHeard, untilRefused } from '../harness/refusals.ts'
import { tokenFor } from '../harness/tokens.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

interface Proof {
  readonly credential?: Parameters<typeof sendHalf>[1]['credential']
  readonly headers?: HeaderList
}

interface Scene {
  readonly code: RefusalCode
  readonly transport?: Door['transport']
  readonly place: (world: World, name: string) => Promise<Place>
  readonly proof: (world: World, name: string) => Promise<Proof>
  readonly revoke: (world: World, name: string) => Promise<unknown>
}

const inWorld = worldOfFile({ receivers: ['echo'] })
const body = Buffer.from(defaultBody)

/** The head is good; what it proved is over before the last byte of the body has come. */
const revokedMeanwhile =
  ({ code, transport = 'gateway', place, proof, revoke }: Scene): Attempt =>
  () =>
    inWorld(async (world) => {
      const name = newName('half-sender')
      await world.agent(name, ['caller'])
      const proved = await proof(world, name)
      const at = await place(world, name)
      const half = { length: body.length, sent: body.subarray(0, 5), ...proved }
      const unfinished = await sendHalf(at, half)
      // Later requests on other connections are answered, so the first one's head has been judged.
      expect((await send(world.gateway)).status).toBe(200)
      const before = world.echo.reached.length
      await revoke(world, name)
      unfinished.send(body.subarray(5))
      const heard = await unfinished.answer()
      if (heard === null) throw new Error('the peer hung up without an answer')
      expectHeard(heard, transport, code)
      expect(world.echo.reached.slice(before)).toEqual([])
      const entries = await world.explain(exchangeOf(heard))
      expect(entries.map(({ kind, facts }) => [kind, facts['code']])).toEqual([['refusal', code]])
    })

const toAgent = (world: World) => world.gateway.place('echo', '/')
const byCertificate = async (world: World, name: string): Promise<Proof> => ({
  credential: (await world.agent(name)).credential(),
})
const quarantine = (world: World, name: string) =>
  world.admin('agent.quarantine', { name, reason: 'told to' })

const byKey: Attempt = (told) => {
  let prefix = ''
  return revokedMeanwhile({
    code: 'CREDENTIAL_REJECTED',
    place: toAgent,
    async proof(world, name) {
      const made = (await world.admin('key.create', { agent: name })) as {
        key: string
        prefix: string
      }
      prefix = made.prefix
      return { headers: [['X-Api-Key', made.key]] }
    },
    revoke: (world) => world.admin('key.revoke', { prefix }),
  })(told)
}

attack(
  verifies(
    ['authenticate:before-body', 'authenticate:quarantine'],
    'a credential that is revoked while the body arrives carries nothing',
  ),
  {
    gateway: {
      'with a certificate': revokedMeanwhile({
        code: 'AGENT_QUARANTINED',
        place: toAgent,
        proof: byCertificate,
        revoke: quarantine,
      }),
      'with a token': revokedMeanwhile({
        code: 'AGENT_QUARANTINED',
        place: toAgent,
        proof: async (world, name) => ({
          headers: [['Authorization', `Bearer ${await tokenFor(await world.agent(name))}`]],
        }),
        revoke: quarantine,
      }),
      'with an API key': byKey,
    },
    mesh: revokedMeanwhile({
      code: 'AGENT_QUARANTINED',
      transport: 'mesh',
      place: (world) => world.mesh.place('echo', '/'),
      proof: byCertificate,
      async revoke(world, name) {
        const other = (await world.agent(name)).credential()
        await quarantine(world, name)
        await untilRefused(() => send(world.mesh, { as: other }))
      },
    }),
    queue: revokedMeanwhile({
      code: 'AGENT_QUARANTINED',
      place: async (world, name) => {
        const hall = await openHall(world, [name])
        return world.control.place('control', `/v1/channels/${hall.name}/messages`)
      },
      proof: byCertificate,
      revoke: quarantine,
    }),
  },
)
