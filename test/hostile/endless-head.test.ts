import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { bytesOf, type Draft, field, send } from '../harness/doors.ts'
import { type Heard, talk } from '../harness/raw-http.ts'
import { eachRefusedOnBoth } from '../harness/refusals.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

type Asking = (world: World, draft: Draft) => Promise<Heard>

const asking: Readonly<Record<'gateway' | 'mesh' | 'loopback', Asking>> = {
  gateway: (world, draft) => send(world.gateway, draft),
  mesh: (world, draft) => send(world.mesh, draft),
  async loopback(world, draft) {
    const place = await world.connectors.loopback('caller', 'echo', '/')
    const [heard] = await talk({ port: place.port, credential: null }, bytesOf(draft, place))
    if (heard === undefined) throw new Error('the connector hung up')
    return heard
  },
}

/** The number in the refusal is that of this very listener: a head below it passes the parser. */
const stated =
  (ask: Asking, kibibytes: number): Attempt =>
  async (world) => {
    const limitAt = async (length: number) => {
      const heard = await ask(world, { headers: [['X-A', 'a'.repeat(length)]] })
      return field(heard, 'countersign-limit')
    }
    expect(await limitAt(kibibytes * 1024)).toBe(`http.headBytes, ${kibibytes} KiB`)
    expect(await limitAt((kibibytes - 1) * 1024)).toBeNull()
  }

const extensions =
  (ask: Asking): Attempt =>
  async (world) => {
    const heard = await ask(world, {
      edit: (lines) => [
        ...lines.filter((line) => !line.startsWith('Content-Length')),
        'Transfer-Encoding: chunked',
      ],
      payload: [`2;a=${'b'.repeat(20_000)}\r\n{}\r\n0\r\n\r\n`],
    })
    expect(field(heard, 'countersign-limit')).toBe('http.chunkExtensionBytes, 16 KiB')
  }

const both = eachRefusedOnBoth('MESSAGE_TOO_LARGE', {
  'of one long field': { headers: [['X-A', 'a'.repeat(40_000)]] },
  'of many fields': { headers: Array.from({ length: 101 }, (_, i) => [`X-${i}`, 'a'] as const) },
  'of very many fields': {
    headers: Array.from({ length: 3000 }, (_, i) => [`X-${i}`, 'a'.repeat(16)] as const),
  },
  'that never ends': { headers: [['X-A', 'a'.repeat(100_000)]], payload: [] },
  'with a long path': { path: `/${'a'.repeat(40_000)}` },
  'with a path that is too long': { path: `/${'a'.repeat(9_000)}` },
})

attack(
  verifies(['inspect:bounds@gateway', 'inspect:bounds@mesh'], 'a head without end is refused'),
  {
    gateway: {
      ...both.gateway,
      'for the limit of the gateway': stated(asking.gateway, 32),
      'between the chunks of a body': extensions(asking.gateway),
    },
    mesh: {
      ...both.mesh,
      'for the limit of a connector': stated(asking.mesh, 16),
      'for the limit of a connector, on loopback': stated(asking.loopback, 16),
      'between the chunks of a body': extensions(asking.mesh),
      'between the chunks of a body, on loopback': extensions(asking.loopback),
    },
    queue: 'members come in by the gateway',
  },
)
