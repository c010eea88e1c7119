import { mkdtempSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { formatTrust } from '@countersign/protocol'
import { type Identity, openIdentity, parseTrustDocument } from '@countersign/sdk'
import { expect, inject, test } from 'vitest'
import { examine } from '../../packages/fabric/src/cli/health-checks.ts'
import type { Fabric } from '../../packages/fabric/src/compose/compose.ts'
import { parseConfig } from '../../packages/fabric/src/config/config.ts'
import { readEnvironment } from '../../packages/fabric/src/config/read.ts'
import { ClockFault } from '../../packages/fabric/src/identity/certificate-authority.ts'
import { ClockBehind } from '../../packages/fabric/src/ledger/clock-watch.ts'
import { inOwnWorld } from '../harness/attack.ts'
import { ShiftedClock } from '../harness/clock.ts'
import { refusalOf, send } from '../harness/doors.ts'
import { tokenFor } from '../harness/tokens.ts'
import { openTestFabric } from '../harness/world.ts'
import { verifies } from '../requirements.ts'

const dayMs = 86_400_000
const promise = verifies(['start:clock'], 'a wrong clock does not keep the fabric from working')

interface Folder {
  readonly dir: string
  readonly clock: ShiftedClock
  open(once?: { acceptClock?: number }): Promise<Fabric>
}

async function inFolder(scene: (folder: Folder) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(inject('worldsDir'), 'clock-'))
  const clock = new ShiftedClock()
  try {
    await scene({ dir, clock, open: (once) => openTestFabric(dir, clock, {}, once) })
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Starts and stops; the trust file is what `countersign up` leaves next to the ledger. */
async function runOnce({ dir, open }: Folder): Promise<void> {
  const fabric = await open()
  const trust = formatTrust(parseTrustDocument(JSON.parse(fabric.trust)))
  await writeFile(join(dir, 'data', 'trust.json'), trust)
  await fabric.close(0)
}

const faultOf = (starting: Promise<Fabric>): Promise<unknown> =>
  starting.then(
    () => null,
    (cause: unknown) => cause,
  )

async function enrol({ dir, clock }: Folder, fabric: Fabric, name: string): Promise<Identity> {
  const order = {
    name,
    kind: 'agent',
    roles: [],
    segment: '',
    attributes: {},
    ttlSeconds: 900,
  } as const
  const { join: line } = await fabric.invite(order)
  return openIdentity({ join: line, dir: join(dir, name), clock, onFault: () => undefined })
}

async function ledgerFinding({ dir, clock }: Folder) {
  const around = { ...readEnvironment(), userConfigDir: dir }
  const config = parseConfig(null, around, { dataDir: join(dir, 'data'), port: 0 })
  return (await examine({ config, clock })).find(({ name }) => name === 'ledger')
}

test(`${promise}: two days ahead for one start`, () =>
  inFolder(async (folder) => {
    const { clock, open } = folder
    await runOnce(folder)
    await clock.later(2 * dayMs, () => runOnce(folder))
    const fault = await faultOf(open())
    if (!(fault instanceof ClockBehind)) throw new Error(`started, or: ${String(fault)}`)
    const option = `--accept-clock ${new Date(fault.headAt).toISOString()}`
    expect(fault.message).toContain(option)
    const found = await ledgerFinding(folder)
    expect(found).toMatchObject({ state: 'fail' })
    expect(found?.says).toContain(option)
    const fabric = await open({ acceptClock: fault.headAt })
    ;(await enrol(folder, fabric, 'planner')).close()
    await fabric.close(0)
    expect(await ledgerFinding(folder)).toMatchObject({ state: 'ok' })
    await runOnce(folder)
  }))

test(`${promise}: two days ahead at the very first start`, () =>
  inFolder(async (folder) => {
    const { clock, open } = folder
    await clock.later(2 * dayMs, () => runOnce(folder))
    const fault = await faultOf(open())
    if (!(fault instanceof ClockBehind)) throw new Error(`started, or: ${String(fault)}`)
    const fabric = await open({ acceptClock: fault.headAt })
    ;(await enrol(folder, fabric, 'planner')).close()
    await fabric.close(0)
  }))

test(`${promise}: ten years ahead changes nothing, and the fault names a next step`, () =>
  inFolder(async (folder) => {
    const { clock, open } = folder
    await runOnce(folder)
    await clock.later(4_000 * dayMs, async () => {
      const fault = await faultOf(open())
      expect(fault).toBeInstanceOf(ClockFault)
      expect(String(fault)).toContain('set the clock')
    })
    const fabric = await open()
    ;(await enrol(folder, fabric, 'planner')).close()
    await fabric.close(0)
  }))

test(`${promise}: a day behind is refused by what it is`, () =>
  inFolder(async (folder) => {
    await runOnce(folder)
    for (const behindMs of [dayMs, 300 * dayMs]) {
      await folder.clock.later(-behindMs, async () => {
        expect(await faultOf(folder.open())).toBeInstanceOf(ClockBehind)
        expect(await ledgerFinding(folder)).toMatchObject({ state: 'fail' })
      })
    }
    await runOnce(folder)
  }))

test(`${promise}: what it gave out while it was ahead does not outlive it`, () =>
  inOwnWorld({ receivers: ['echo'] }, async (world) => {
    const headers = [['Authorization', `Bearer ${await tokenFor(world.caller)}`]] as const
    const ask = () => send(world.gateway, { as: null, headers })
    expect((await ask()).status).toBe(200)
    const order = {
      name: 'planner',
      kind: 'agent',
      roles: [],
      segment: '',
      attributes: {},
    } as const
    // Two days earlier by this clock, the token is of a clock that was ahead.
    await world.clock.later(-2 * dayMs, async () => {
      expect(refusalOf(await ask())).toBe('CREDENTIAL_REJECTED')
    })
    const { join: later } = await world.clock.later(2 * dayMs, () =>
      world.fabric.invite({ ...order, ttlSeconds: 900 }),
    )
    const enrolWith = (text: string) =>
      openIdentity({
        ...{ join: text, dir: join(world.dir, 'planner'), clock: world.clock },
        onFault: () => undefined,
      })
    await expect(enrolWith(later)).rejects.toMatchObject({ code: 'CREDENTIAL_REJECTED' })
    const { join: line } = await world.fabric.invite({ ...order, ttlSeconds: 900 })
    ;(await enrolWith(line)).close()
  }))

test(`${promise}: ahead and back while it runs`, () =>
  inOwnWorld({ receivers: ['echo'] }, async (world) => {
    expect((await send(world.gateway)).status).toBe(200)
    await world.clock.later(2 * dayMs, async () => {
      // Certificates of the real time are over by this clock, so it fails closed.
      expect((await send(world.gateway)).status).not.toBe(200)
    })
    expect((await send(world.gateway)).status).toBe(200)
    const recent = await world.recorded()
    const steps = recent.filter(({ facts }) => facts['event'] === 'clock-stepped')
    expect(steps).toHaveLength(2)
  }))
