import type { Socket } from 'node:net'
import { expect } from 'vitest'
import { attack, inOwnWorld } from '../harness/attack.ts'
import { bytesOf, type Draft, type Place } from '../harness/doors.ts'
import { RECEIVERS } from '../harness/policies.ts'
import { dial } from '../harness/raw-http.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

/** Longer than any agent's certificate lives. */
const laterMs = 8 * 86_400_000
/** Half of an hour, for which a certificate lives, and a little. */
const halfMs = 31 * 60_000

/** One more request on a connection that stands; null when the peer hung up instead. */
function ask(socket: Socket, draft: Draft, place: Place): Promise<string | null> {
  return new Promise((resolve) => {
    socket.once('data', (bytes: Buffer) => resolve(bytes.toString('latin1')))
    socket.once('close', () => resolve(null))
    for (const part of bytesOf(draft, place)) socket.write(part)
  })
}

interface Outliving {
  readonly place: Place
  readonly ms: number
}

async function outlive(world: World, { place, ms }: Outliving): Promise<void> {
  const socket = await dial({ port: place.port, credential: world.caller.credential() })
  expect(await ask(socket, {}, place)).toMatch(/^HTTP\/1.1 200/)
  const before = world.echo.reached.length
  const heard = await world.clock.later(ms, () => ask(socket, {}, place))
  socket.destroy()
  expect(heard).toMatch(/countersign-refusal: CREDENTIAL_EXPIRED/)
  expect(world.echo.reached.slice(before)).toEqual([])
}

attack(
  verifies(['authenticate:expiry'], 'a connection does not outlive the certificate that opened it'),
  {
    gateway: async (world) =>
      outlive(world, { place: await world.gateway.place('echo', '/'), ms: laterMs }),
    // A connector records under the fabric's clock, with a certificate that has to stay good: it is
    // enrolled when that of the caller is half an hour old.
    mesh: () =>
      inOwnWorld({ receivers: ['echo'] }, (world) =>
        world.clock.later(halfMs, async () => {
          await world.agent('other', [RECEIVERS.other.role])
          const place = await world.mesh.place('other', '/')
          await outlive(world, { place, ms: halfMs })
        }),
      ),
    queue: 'members come in by the gateway',
  },
)
