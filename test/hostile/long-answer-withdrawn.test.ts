import type { EntryView } from '@countersign/protocol'
import { expect, vi } from 'vitest'
import { attack, newName, worldOfFile } from '../harness/attack.ts'
import {
  draftTo,
  lease,
  leaseBody,
  openHall,
  openSealer,
  orderOf,
  publish,
  publishedIn,
} from '../harness/channels.ts'
import { deadline } from '../harness/deadline.ts'
import { type Door, refusalOf, send } from '../harness/doors.ts'
import { type HalfRead, readHalf, readHalfHttp2 } from '../harness/half-read.ts'
import type { World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const mebibyte = 1024 * 1024
/** More than the buffers of two sockets; a connector takes no more than four mebibytes. */
const sizes = { gateway: 15 * mebibyte, mesh: 4 * mebibyte - 1 }
/** The bytes that are written at once. */
const sliceBytes = 65_536
const inWorld = worldOfFile({ receivers: ['echo'], limits: { bodyBytes: 16 * mebibyte } })

const quarantine = (world: World, name: string) =>
  world.admin('agent.quarantine', { name, reason: 'told to' })

type Read = (door: Door, draft: Parameters<typeof readHalf>[1]) => Promise<HalfRead>

/** A caller has the beginning of a long answer, may `lose` the right to it, and takes the rest. */
const takes = (transport: 'gateway' | 'mesh', read: Read, lose: typeof quarantine | null) => () =>
  inWorld(async (world) => {
    const door = world[transport]
    const long = Buffer.alloc(sizes[transport], 'x')
    const agent = await world.agent(newName('slow-reader'), ['caller'])
    const as = agent.credential()
    await vi.waitFor(async () => expect((await send(door, { as })).status).toBe(200), deadline)
    const got = await world.echo.during(
      (_, response) => {
        response.writeHead(200, { 'content-type': 'text/plain' })
        response.end(long)
      },
      async () => {
        const half = await read(door, { as })
        await lose?.(world, agent.name)
        if (lose !== null) {
          // A connector learns of it a moment later.
          const refused = async () =>
            refusalOf(await send(door, { as, method: 'HEAD', body: null }))
          await vi.waitFor(async () => expect(await refused()).not.toBeNull(), deadline)
        }
        return half.rest()
      },
    )
    if (lose === null) {
      expect(got.length).toBeGreaterThanOrEqual(long.length)
      return
    }
    expect(got.length).toBeLessThan(long.length)
    expect(got.length).toBeGreaterThan(sliceBytes / 2)
    if (transport === 'gateway') await vi.waitFor(() => expectOnRecord(world, agent.name), deadline)
  })

/** Expects an entry that the rest was not handed over, next to the outcome with `delivered`. */
async function expectOnRecord(world: World, name: string): Promise<void> {
  const recent = (await world.recorded()) as readonly EntryView[]
  const late = recent.filter(({ caller, ended }) => caller === name && ended?.code === 'WITHDRAWN')
  expect(late.map(({ facts }) => facts['private.detail'])).toEqual([
    expect.stringMatching(/^the response of exc_[a-z0-9]+_[0-9a-f]{32} was cut: /),
  ])
}

const forbid = (world: World, name: string) =>
  world.admin('policy.put', {
    name: `${name}.cedar`,
    text: `@id("${name}")\nforbid(principal == Agent::"${name}", action, resource);`,
  })

attack(
  verifies(
    ['revoke:long-answer'],
    'a long answer does not go on to a caller that has lost the right to it',
  ),
  {
    gateway: {
      'in quarantine': takes('gateway', readHalf, quarantine),
      'in quarantine, over HTTP/2': takes('gateway', readHalfHttp2, quarantine),
      'by a new policy, over HTTP/2': takes('gateway', readHalfHttp2, forbid),
      'and comes whole to one that keeps it': takes('gateway', readHalf, null),
      'and comes whole over HTTP/2': takes('gateway', readHalfHttp2, null),
      'of the fabric itself': () =>
        inWorld(async (world) => {
          const other = await world.agent(newName('slow-operator'), ['caller', 'operator'])
          await Promise.all(Array.from({ length: 250 }, () => send(world.gateway)))
          const draft = {
            ...{ path: '/v1/admin', as: other.credential() },
            body: JSON.stringify({ operation: 'ledger.read', args: { countMax: 500 } }),
          }
          const half = await readHalfHttp2(world.control, draft)
          await quarantine(world, other.name)
          const got = await half.rest()
          expect(got.length).toBeGreaterThan(sliceBytes / 2)
          expect(() => JSON.parse(got.toString())).toThrow(SyntaxError)
        }),
    },
    mesh: {
      'in quarantine': takes('mesh', readHalf, quarantine),
      'and comes whole to one that keeps it': takes('mesh', readHalf, null),
    },
    queue: {
      'and what was leased with it goes to others': () =>
        inWorld(async (world) => {
          const name = newName('slow-consumer')
          const { name: channel, members } = await openHall(world, [name, 'other-consumer'])
          const [sender, slow, other] = members
          if (sender === undefined || slow === undefined || other === undefined) throw new Error()
          const sealer = await openSealer(world, channel, sender)
          for (let i = 0; i < 8; i++) {
            const body = Buffer.alloc(60_000, 'x')
            publishedIn(await publish(world, channel, [sealer.seal(orderOf({ body })).bytes]))
          }
          const draft = draftTo(channel, 'leases', { body: leaseBody(600_000) })
          const half = await readHalfHttp2(world.control, { ...draft, as: slow.credential() })
          await quarantine(world, name)
          expect((await half.rest()).length).toBeLessThan(8 * 60_000)
          await vi.waitFor(
            async () => expect(await lease(world, channel, other)).toHaveLength(8),
            deadline,
          )
        }),
    },
  },
)
