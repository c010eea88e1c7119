import { randomBytes } from 'node:crypto'
import { expect } from 'vitest'
import { type Door, type Draft, send } from '../harness/doors.ts'
import { lie, type Telling } from '../harness/lie.ts'
import { expectRefused } from '../harness/refusals.ts'
import { signed } from '../harness/signed.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Pair = (world: World, door: Door) => Promise<readonly [Draft, Draft]>

const pairs: Readonly<Record<string, Pair>> = {
  'the same bytes': async (world, door) => {
    const draft = await signed(door, world.caller)
    return [draft, draft]
  },
  'the same nonce under another message': async (world, door) => {
    const nonce = randomBytes(18).toString('base64url')
    return [
      await signed(door, world.caller, { body: '{"n":1}' }, { nonce }),
      await signed(door, world.caller, { body: '{"n":2}' }, { nonce }),
    ]
  },
}

const replay =
  (transport: 'gateway' | 'mesh', pair: Pair): Telling =>
  async (world) => {
    const door = world[transport]
    const [first, second] = await pair(world, door)
    expect((await send(door, first)).status).toBe(200)
    await expectRefused(world, transport, {
      code: 'MESSAGE_REPLAYED',
      tell: () => send(door, second),
    })
  }

const onEach = (transport: 'gateway' | 'mesh') =>
  Object.fromEntries(Object.entries(pairs).map(([way, pair]) => [way, replay(transport, pair)]))

lie(
  verifies(
    ['authenticate:replay@gateway', 'authenticate:replay@mesh'],
    'a signed request that came before is refused',
  ),
  {
    gateway: onEach('gateway'),
    mesh: onEach('mesh'),
    queue: 'told of sealed messages by replayed-message',
  },
)
