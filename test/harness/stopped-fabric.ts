import { cpSync, mkdtempSync, rmSync } from 'node:fs'
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

let first: Promise<Stopped> | null = null

/** Each scene gets a copy of its own, of which another copy has started and found itself sound. */
export async function withStoppedFabric(
  scene: (stopped: StoppedFabric) => Promise<void>,
): Promise<void> {
  first ??= runAndStop()
  const { dir: original, line } = await first
  const dir = copyOf(original)
  try {
    await scene({ dir: join(dir, 'data'), startAndCheck: () => startAndCheck({ dir, line }) })
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

const clock = new ShiftedClock()

/** The data on disk, and the join string of its operator. */
interface Stopped {
  readonly dir: string
  readonly line: string
}

async function runAndStop(): Promise<Stopped> {
  const dir = mkdtempSync(join(inject('worldsDir'), 'stopped-'))
  const fabric = await openTestFabric(dir, clock, {})
  const order = { name: 'operator', kind: 'user', roles: ['operator'], segment: '' } as const
  const { join: line } = await fabric.invite({ ...order, attributes: {}, ttlSeconds: 900 })
  const own = join(dir, 'operator')
  const operator = await openIdentity({ join: line, dir: own, clock, onFault: () => undefined })
  for (let asked = 0; asked < 5; asked++) await ask(operator, 'status')
  operator.close()
  await fabric.close(0)
  // Otherwise a scene that expects a refusal would only show that copies are refused.
  const copy = copyOf(dir)
  await startAndCheck({ dir: copy, line })
  return { dir: copy, line }
}

function copyOf(dir: string): string {
  const copy = mkdtempSync(join(inject('worldsDir'), 'stopped-'))
  cpSync(dir, copy, { recursive: true })
  return copy
}

async function startAndCheck({ dir, line }: Stopped): Promise<unknown> {
  const again = await openTestFabric(dir, clock, {})
  try {
    const moved = line.replace(/^https:\/\/[^/]+/, again.origin)
    const own = { join: moved, dir: join(dir, 'operator'), clock }
    const back = await openIdentity({ ...own, onFault: () => undefined })
    return await ask(back, 'ledger.check').finally(() => back.close())
  } finally {
    await again.close(0)
  }
}

function ask(identity: Identity, operation: string): Promise<unknown> {
  const value = { operation, args: {} }
  return askControl(identity.connection, { method: 'POST', path: '/v1/admin', value })
}
