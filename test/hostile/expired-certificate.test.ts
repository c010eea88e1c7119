import { expect } from 'vitest'
import { attack } from '../harness/attack.ts'
import { ShiftedClock } from '../harness/clock.ts'
import { bytesOf, send } from '../harness/doors.ts'
import { talk } from '../harness/raw-http.ts'
import { expectRefused } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

/** Longer than any agent's certificate lives. */
const laterMs = 8 * 86_400_000

attack(verifies(['authenticate:certificate'], 'a certificate that has ended is refused'), {
  gateway: async (world) =>
    expectRefused(world, 'gateway', {
      code: 'CREDENTIAL_EXPIRED',
      attempt: () => world.clock.later(laterMs, () => send(world.gateway)),
    }),
  mesh: async (world) => {
    // A clock of its own: the connector's own certificate has to stay good.
    const clock = new ShiftedClock()
    const { meshUrl } = await world.connectors.beside('other', clock)
    const { host, port } = new URL(meshUrl ?? '')
    const place = { authority: host, port: Number(port), path: '/' }
    const credential = world.caller.credential()
    const before = world.echo.reached.length
    const attempt = () => talk({ port: place.port, credential }, bytesOf({}, place))
    expect(await attempt()).toMatchObject([{ status: 200 }])
    // The handshake itself fails, so a request never arrives to be answered.
    expect(await clock.later(laterMs, attempt)).toEqual([])
    expect(world.echo.reached.length).toBe(before + 1)
  },
  queue: 'members come in by the gateway',
})
