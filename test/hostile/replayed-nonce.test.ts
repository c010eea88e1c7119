import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { openAgent } from '@countersign/sdk'
import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import {
  bytesOf,
  type Door,
  type Draft,
  type HeaderList,
  refusalOf,
  send,
} from '../harness/doors.ts'
import { forwardedBody, forwarding, forwardKeyOf } from '../harness/forwarding.ts'
import { talk } from '../harness/raw-http.ts'
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
  (transport: 'gateway' | 'mesh', pair: Pair): Attempt =>
  async (world) => {
    const door = world[transport]
    const [first, second] = await pair(world, door)
    expect((await send(door, first)).status).toBe(200)
    await expectRefused(world, transport, {
      code: 'MESSAGE_REPLAYED',
      attempt: () => send(door, second),
    })
  }

const onEach = (transport: 'gateway' | 'mesh') =>
  Object.fromEntries(Object.entries(pairs).map(([way, pair]) => [way, replay(transport, pair)]))

/**
 * An agent that serves by the SDK, in the middle of whose window its wall clock is set ahead and
 * back.
 */
const acrossJump: Attempt = async (world) => {
  await world.agent('serving', ['open'])
  const agent = await openAgent({ dir: join(world.dir, 'serving'), clock: world.clock })
  const findKey = forwardKeyOf(world.caller)
  const { port } = await agent.serve(() => new Response('ok'), { expose: null, findKey })
  const place = { port, authority: `127.0.0.1:${port}`, path: '/' }
  const credential = world.caller.credential()
  const { keyId } = world.caller.signing
  const forwarded = () => forwarding(world.caller, { keyId, at: world.clock.now() })
  const attempt = async (headers: HeaderList) => {
    const [heard] = await talk(
      { port, credential },
      bytesOf({ body: forwardedBody, headers }, place),
    )
    return heard?.status === 200 ? 'ok' : heard && refusalOf(heard)
  }
  try {
    const captured = forwarded()
    expect(await attempt(captured)).toBe('ok')
    expect(await world.clock.later(300_000, () => attempt(forwarded()))).toBe('ok')
    expect(await attempt(captured)).toBe('MESSAGE_REPLAYED')
  } finally {
    await agent.close()
  }
}

attack(
  verifies(
    ['authenticate:replay@gateway', 'authenticate:replay@mesh'],
    'a signed request that came before is refused',
  ),
  {
    gateway: onEach('gateway'),
    mesh: { ...onEach('mesh'), 'after a jump of the clock': acrossJump },
    queue: 'tested for sealed messages by replayed-message',
  },
)
