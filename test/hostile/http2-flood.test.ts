import type { TlsCredential } from '@countersign/protocol/tls'
import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { send } from '../harness/doors.ts'
import { flood, floodsOf } from '../harness/http2-flood.ts'
import { literal } from '../harness/raw-http2.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const mebibyte = 1024 * 1024
/** More than any connection may send besides its requests, several times over. */
const bytesMax = 4 * mebibyte
/** Memory that a flood may leave behind; nothing refers to it any more. */
const keptBytesMax = 32 * mebibyte

async function floodsAt(world: World) {
  const { port, authority } = await world.gateway.place('echo', '/')
  const head = (path: string, method: string): Buffer => {
    const fields = { ':method': method, ':scheme': 'https', ':authority': authority, ':path': path }
    return Buffer.concat(Object.entries(fields).map(([name, value]) => literal(name, value)))
  }
  return { port, floods: floodsOf(head) }
}

const names = Object.keys(floodsOf(() => Buffer.alloc(0)))

/** The connection of the flood ends, a neighbour is answered meanwhile, and nothing is kept. */
const ends =
  (name: string): Attempt =>
  async (world) => {
    const { port, floods } = await floodsAt(world)
    const frames = floods[name]
    if (frames === undefined) throw new TypeError(`no flood is called ${name}`)
    const before = process.memoryUsage().external
    // Both at once: most of the time goes by until the server looks at its connections.
    const floodAs = async (credential: TlsCredential | null) => {
      const flooder = { port, credential, reads: true, bytesMax }
      const [end, neighbour] = await Promise.all([flood(flooder, frames), send(world.gateway)])
      expect(end, credential === null ? 'without a credential' : 'of an agent').not.toBeNull()
      expect(neighbour.status).toBe(200)
    }
    await Promise.all([floodAs(null), floodAs(world.caller.credential())])
    expect(process.memoryUsage().external - before).toBeLessThan(keptBytesMax)
  }

/** A client that reads nothing may not see that it is cut off; the server keeps nothing for it. */
const keepsNothing: Attempt = async (world) => {
  const { port, floods } = await floodsAt(world)
  const before = process.memoryUsage().external
  for (const name of ['ping', 'settings', 'requests that are reset at once'] as const) {
    const frames = floods[name]
    if (frames === undefined) throw new TypeError(`no flood is called ${name}`)
    const flooder = { port, credential: world.caller.credential(), reads: false, bytesMax }
    const [end, neighbour] = await Promise.all([flood(flooder, frames), send(world.gateway)])
    expect(end, name).not.toBeNull()
    expect(neighbour.status).toBe(200)
  }
  expect(process.memoryUsage().external - before).toBeLessThan(keptBytesMax)
}

attack(
  verifies(
    ['operate:frames'],
    'frames of HTTP/2 that ask for nothing end their connection, and keep no other client waiting',
  ),
  {
    gateway: {
      ...Object.fromEntries(names.map((name) => [name, ends(name)])),
      'of a client that reads nothing': keepsNothing,
    },
    mesh: 'connectors speak HTTP/1.1 to each other',
    queue: 'members come in by the gateway',
  },
)
