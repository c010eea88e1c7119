import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { askControl, type Identity, openIdentity } from '@countersign/sdk'
import { inject } from 'vitest'
import { ShiftedClock } from './clock.ts'
import { openTestFabric } from './world.ts'

/** A fabric that ran for a while and was stopped: what a thief or a restored backup finds. */
export interface StoppedFabric {
  /** Its data folder. */
  readonly dir: string
  /** Starts it again on what lies there now, and has it check its own history. */
  startAndCheck(): Promise<unknown>
}

export async function withStoppedFabric(
  scene: (stopped: StoppedFabric) => Promise<void>,
): Promise<void> {
  const dir = mkdtempSync(join(inject('worldsDir'), 'stopped-'))
  const clock = new ShiftedClock()
  try {
    const fabric = await openTestFabric(dir, clock, {})
    const order = { name: 'operator', kind: 'user', roles: ['operator'], segment: '' } as const
    const { join: line } = await fabric.invite({ ...order, attributes: {}, ttlSeconds: 900 })
    const own = join(dir, 'operator')
    const operator = await openIdentity({ join: line, dir: own, clock, onFault: () => undefined })
    for (let asked = 0; asked < 5; asked++) await ask(operator, 'status')
    operator.close()
    await fabric.close(0)
    await scene({
      dir: join(dir, 'data'),
      async startAndCheck() {
        const again = await openTestFabric(dir, clock, {})
        try {
          const moved = { join: line.replace(/^https:\/\/[^/]+/, again.origin), dir: own, clock }
          const back = await openIdentity({ ...moved, onFault: () => undefined })
          return await ask(back, 'ledger.check').finally(() => back.close())
        } finally {
          await again.close(0)
        }
      },
    })
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

function ask(identity: Identity, operation: string): Promise<unknown> {
  const value = { operation, args: {} }
  return askControl(identity.line, { method: 'POST', path: '/v1/admin', value })
}
