import type { Socket } from 'node:net'
import { expect } from 'vitest'
import { ShiftedClock } from '../harness/clock.ts'
import { bytesOf, type Draft, type Place } from '../harness/doors.ts'
import { lie } from '../harness/lie.ts'
import { dial } from '../harness/raw-http.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** Longer than any agent's certificate lives. */
const laterMs = 8 * 86_400_000

/** One more request on a connection that stands; null when the peer hung up instead. */
function ask(socket: Socket, draft: Draft, place: Place): Promise<string | null> {
  return new Promise((resolve) => {
    socket.once('data', (bytes: Buffer) => resolve(bytes.toString('latin1')))
    socket.once('close', () => resolve(null))
    for (const part of bytesOf(draft, place)) socket.write(part)
  })
}

async function outlive(world: World, place: Place, clock: ShiftedClock): Promise<void> {
  const socket = await dial({ port: place.port, credential: world.caller.credential() })
  expect(await ask(socket, {}, place)).toMatch(/^HTTP\/1.1 200/)
  const before = world.echo.reached.length
  const heard = await clock.later(laterMs, () => ask(socket, {}, place))
  socket.destroy()
  expect(heard).toMatch(/countersign-refusal: CREDENTIAL_EXPIRED/)
  expect(world.echo.reached.slice(before)).toEqual([])
}

lie(
  verifies(['authenticate:expiry'], 'a connection does not outlive the certificate that opened it'),
  {
    gateway: async (world) => outlive(world, await world.gateway.place('echo', '/'), world.clock),
    mesh: async (world) => {
      // A clock of its own: the connector's own certificate has to stay good.
      const clock = new ShiftedClock()
      const { meshUrl } = await world.connectors.beside('other', clock)
      const { host, port } = new URL(meshUrl ?? '')
      await outlive(world, { authority: host, port: Number(port), path: '/' }, clock)
    },
    queue: 'members come in by the gateway',
  },
)
