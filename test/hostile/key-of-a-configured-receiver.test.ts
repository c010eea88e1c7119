import { expect } from 'vitest'
import { type Attempt, attack, worldOfFile } from '../harness/attack.ts'
import { refusalOf, send } from '../harness/doors.ts'
import { verifies } from '../requirements.ts'

const inWorld = worldOfFile({
  receivers: ['echo'],
  configured: { vault: { roles: ['masked'] }, safe: { roles: ['blocked'] } },
})

/** An API key that was made for a receiver does not decide its roles. */
const rolesStay: Attempt = () =>
  inWorld(async (world) => {
    const body = '{"card":"4111 1111 1111 1111"}'
    const expectDecided = async () => {
      expect((await send(world.gateway, { to: 'vault', body })).status).toBe(200)
      const [reached] = world.echo.reached.slice(-1)
      expect(reached?.body.toString()).toContain('[CARD *1111]')
      expect(refusalOf(await send(world.gateway, { to: 'safe', body }))).toBe('CONTENT_BLOCKED')
    }
    await expectDecided()
    for (const agent of ['vault', 'safe']) await world.admin('key.create', { agent })
    await expectDecided()
  })

attack(
  verifies(
    ['authorize:attributes@gateway'],
    'a key for a receiver of the configuration takes no role from it',
  ),
  {
    gateway: rolesStay,
    mesh: 'a receiver of the configuration has no connector',
    queue: 'channels have no roles',
  },
)
