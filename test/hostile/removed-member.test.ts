import { expect, vi } from 'vitest'
import { LeaseMemory } from '../../packages/fabric/src/channels/lease-memory.ts'
import { attack } from '../harness/attack.ts'
import {
  draftTo,
  expectQueueRefused,
  lease,
  leaseBody,
  openHall,
  openSealer,
  orderOf,
  publish,
} from '../harness/channels.ts'
import { send } from '../harness/doors.ts'
import { verifies } from '../requirements.ts'

attack(
  verifies(
    ['queue:epochs', 'revoke:lease'],
    'a removed member neither sends nor receives, and its epoch is over',
  ),
  {
    gateway: 'channels are of the queue',
    mesh: 'channels are of the queue',
    queue: {
      'publishing with the keys it still has': async (world) => {
        const { name, members } = await openHall(world)
        const [, removed = world.caller] = members
        const sealer = await openSealer(world, name, removed)
        await world.admin('channel.members', { name, members: ['caller'] })
        const heard = await publish(world, name, [sealer.seal(orderOf()).bytes], removed)
        await expectQueueRefused(world, heard, 'NOT_PERMITTED')
      },
      'consuming what was sent before': async (world) => {
        const { name, members } = await openHall(world)
        const [, removed = world.caller] = members
        const sealer = await openSealer(world, name, world.caller)
        await publish(world, name, [sealer.seal(orderOf()).bytes])
        await world.admin('channel.members', { name, members: ['caller'] })
        const draft = draftTo(name, 'leases', { body: leaseBody(), as: removed.credential() })
        await expectQueueRefused(world, await send(world.control, draft), 'NOT_PERMITTED')
      },
      'by a message of the epoch in which it could read': async (world) => {
        const { name } = await openHall(world)
        const sealer = await openSealer(world, name, world.caller)
        const { bytes } = sealer.seal(orderOf())
        await world.admin('channel.members', { name, members: ['caller'] })
        await expectQueueRefused(world, await publish(world, name, [bytes]), 'EPOCH_STALE')
        expect(await lease(world, name, world.caller)).toEqual([])
      },
      'by a key that is wrapped to it in secret': async (world) => {
        const { name, members } = await openHall(world)
        const [, removed = world.caller] = members
        await world.admin('channel.members', { name, members: ['caller'] })
        const sealer = await openSealer(world, name, world.caller)
        const outsider = {
          keyId: removed.sealing.keyId,
          publicKey: new Uint8Array(32).fill(9),
          suite: 1,
        }
        const signing = { keyId: removed.signing.keyId, publicKey: new Uint8Array(32) }
        const insider = { ...outsider, keyId: world.caller.sealing.keyId }
        const body = await sealer.keyMessage([
          { name: 'caller', signing, sealing: insider },
          { name: removed.name, signing, sealing: outsider },
        ])
        const heard = await send(world.control, draftTo(name, 'keys', { body }))
        await expectQueueRefused(world, heard, 'EPOCH_STALE')
      },
      'by asking for keys of the epoch that begins without it': async (world) => {
        const { name, members } = await openHall(world)
        const [, removed = world.caller] = members
        const entered = Promise.withResolvers<void>()
        const gate = Promise.withResolvers<void>()
        const { reserveExactly } = LeaseMemory.prototype
        const waiting = vi.spyOn(LeaseMemory.prototype, 'reserveExactly')
        waiting.mockImplementationOnce(async function (this: LeaseMemory, ...given) {
          entered.resolve()
          await gate.promise
          return reserveExactly.apply(this, given)
        })
        try {
          const draft = draftTo(name, 'keys?epoch=2', { method: 'GET', body: null })
          const asking = send(world.control, { ...draft, as: removed.credential() })
          await entered.promise
          await world.admin('channel.members', { name, members: ['caller'] })
          // Logs the keys of the new epoch.
          await openSealer(world, name, world.caller)
          gate.resolve()
          await expectQueueRefused(world, await asking, 'NOT_PERMITTED')
        } finally {
          gate.resolve()
          waiting.mockRestore()
        }
      },
      'while its request is held open': async (world) => {
        const name = 'waiting-member'
        const waiting = await world.agent(name, ['caller'])
        const hall = await openHall(world, [name])
        const body = Buffer.from(
          JSON.stringify({ group: 'workers', count: 1, leaseMs: 30_000, waitMs: 20_000 }),
        )
        const asking = send(world.control, {
          ...draftTo(hall.name, 'leases', { body }),
          as: waiting.credential(),
        })
        await world.admin('agent.quarantine', { name, reason: 'told to' })
        const heard = await asking
        expect(['NOT_PERMITTED', 'AGENT_QUARANTINED', 'WITHDRAWN']).toContain(
          heard.headers.get('countersign-refusal')?.[0],
        )
      },
    },
  },
)
