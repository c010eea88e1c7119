import { expect } from 'vitest'
import { send, sendAll } from '../harness/doors.ts'
import { lie } from '../harness/lie.ts'
import { expectRefused } from '../harness/refusals.ts'
import { verifies } from '../requirements.ts'

/** Longer than any agent's certificate lives. */
const laterMs = 8 * 86_400_000

lie(verifies(['authenticate:certificate'], 'a certificate that has ended is refused'), {
  gateway: async (world) =>
    expectRefused(world, 'gateway', {
      code: 'CREDENTIAL_EXPIRED',
      tell: () => world.clock.later(laterMs, () => send(world.gateway)),
    }),
  mesh: async (world) => {
    await world.mesh.place('echo', '/')
    const before = world.echo.reached.length
    expect(await world.clock.later(laterMs, () => sendAll(world.mesh, {}))).toEqual([])
    expect(world.echo.reached.slice(before)).toEqual([])
  },
  queue: 'members come in by the gateway',
})
