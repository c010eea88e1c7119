import { readdirSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Attempt, attack } from '../harness/attack.ts'
import { type Door, type Draft, refusalOf, send } from '../harness/doors.ts'
import { withOwnConnector } from '../harness/own-connector.ts'
import { expectRefused } from '../harness/refusals.ts'
import { signed } from '../harness/signed.ts'
import { openTestFabric, openWorld, type World } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const limits = { requestsPerMinute: 1_000 }

/** A fabric is stopped and started again; `meanwhile` changes its record of used values. */
const acrossFabricRestart =
  (
    meanwhile: (usedValues: string) => void,
    scene: (world: World, door: Door, used: Draft) => Promise<void>,
  ): Attempt =>
  async () => {
    const world = await openWorld({ receivers: ['echo'] })
    try {
      const used = await signed(world.gateway, world.caller)
      expect((await send(world.gateway, used)).status).toBe(200)
      await world.fabric.close(0)
      meanwhile(join(world.dir, 'data', 'used-values'))
      const again = await openTestFabric(world.dir, world.clock, limits)
      const door: Door = {
        ...world.gateway,
        place: (to, path) =>
          Promise.resolve({
            authority: `127.0.0.1:${again.port}`,
            port: again.port,
            path: `/agents/${to}${path}`,
          }),
      }
      try {
        const reached = world.echo.reached.length
        await scene(world, door, used)
        expect(world.echo.reached).toHaveLength(reached + 1)
      } finally {
        await again.close(0)
      }
    } finally {
      await world.close()
    }
  }

const afterRestart = acrossFabricRestart(
  () => undefined,
  async (world, door, used) => {
    expect(refusalOf(await send(door, used))).toBe('MESSAGE_REPLAYED')
    expect((await send(door, await signed(door, world.caller))).status).toBe(200)
  },
)

const afterLoss = acrossFabricRestart(
  (dir) => {
    for (const name of readdirSync(dir)) if (name.endsWith('.used')) truncateSync(join(dir, name))
  },
  async (world, door, used) => {
    expect(refusalOf(await send(door, used))).toBe('UNDECIDED')
    // Signed by a clock that is ahead, it may have been used before the loss as well.
    const ahead = await signed(door, world.caller, {}, { createdIn: 15 })
    expect(refusalOf(await send(door, ahead))).toBe('UNDECIDED')
    await world.clock.later(60_000, async () => {
      const fresh = await signed(door, world.caller, {}, { createdIn: 60 })
      expect((await send(door, fresh)).status).toBe(200)
    })
  },
)

/** A connector is closed and opened again, with or without a folder for used values. */
const acrossConnectorRestart =
  (name: string, hasFolder: boolean): Attempt =>
  async (world) => {
    const dir = hasFolder ? join(world.dir, name, 'used-values') : null
    const used: Draft[] = []
    await withOwnConnector(world, { name, usedValues: { dir, isFirst: true } }, async (own) => {
      const draft = await signed(own.direct, world.caller, { to: name })
      expect((await send(own.direct, draft)).status).toBe(200)
      used.push(draft)
    })
    await withOwnConnector(world, { name, usedValues: { dir, isFirst: false } }, async (own) => {
      for (const draft of used) {
        await expectRefused(world, 'mesh', {
          code: hasFolder ? 'MESSAGE_REPLAYED' : 'UNDECIDED',
          attempt: () => send(own.direct, draft),
        })
      }
      if (!hasFolder) return
      const fresh = await signed(own.direct, world.caller, { to: name })
      expect((await send(own.direct, fresh)).status).toBe(200)
    })
  }

attack(
  verifies(
    ['authenticate:replay@gateway', 'authenticate:replay@mesh'],
    'a signed request that was used before a restart is refused after it',
  ),
  {
    gateway: {
      'with the record of used values': afterRestart,
      'whose record of used values was lost': afterLoss,
    },
    mesh: {
      'with a folder for used values': acrossConnectorRestart('restarted', true),
      'without a folder': acrossConnectorRestart('forgetful', false),
    },
    queue: 'tested for sealed messages by replayed-message',
  },
)
