import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { askControl, openIdentity } from '../../packages/sdk/src/index.ts'
import { FabricEnded, FabricHost, findFreePort, type Power } from './fabric-host.ts'
import { fabricHome } from './fabric-rounds.ts'
import type { SeededRandom } from './seeded-random.ts'

export interface FirstStartsOptions {
  readonly root: string
  readonly rounds: number
  readonly random: SeededRandom
  readonly createPower: ((root: string, random: SeededRandom) => Power) | null
  onFirstStart(round: number, death: string, violations: readonly string[]): void
}

/**
 * A new fabric makes its keys, its authority, its policies and its ledger in its first seconds.
 * Killed in the middle of that, the next start finishes it; and what it handed out before the next
 * death, an operator's identity, is still good after it.
 */
export async function runFirstStarts(options: FirstStartsOptions): Promise<readonly string[]> {
  let startMs = startMsGuess
  for (let round = 1; round <= options.rounds; round++) {
    const root = join(options.root, `first-start-${round}`)
    const home = fabricHome(root)
    mkdirSync(home, { recursive: true })
    const power = options.createPower?.(root, options.random) ?? null
    const host = new FabricHost({ root: home, port: await findFreePort(options.random), power })
    const afterMs = options.random.between(0, Math.ceil(startMs))
    const death = `killed ${afterMs} ms into its first start`
    const violations = await startFirst(host, root, afterMs).then(
      (tookMs) => {
        startMs = tookMs
        return []
      },
      async (cause: unknown) => {
        await host.kill().catch(() => undefined)
        if (cause instanceof FabricEnded) return [`${death}: ${cause.message}`]
        return [`${death}: ${String(cause)}`]
      },
    )
    options.onFirstStart(round, death, violations)
    if (violations.length > 0) return violations
    rmSync(root, { recursive: true })
  }
  return []
}

const startMsGuess = 1_000

async function startFirst(host: FabricHost, root: string, afterMs: number): Promise<number> {
  host.spawn()
  await sleep(afterMs)
  await host.kill()
  const startedAt = performance.now()
  await host.start()
  const tookMs = performance.now() - startedAt
  const order = { name: 'operator', kind: 'user', roles: ['operator'], segment: '' } as const
  const line = await host.invite({ ...order, attributes: {}, ttlSeconds: 900 })
  const dir = join(root, 'operator')
  const options = { join: line, dir, clock: systemClock, onFault: () => undefined }
  const operator = await openIdentity(options)
  try {
    const check = () =>
      askControl(operator.connection, {
        method: 'POST',
        path: '/v1/admin',
        value: { operation: 'ledger.check', args: {} },
      })
    await check()
    await host.kill()
    await host.start()
    await check()
    await host.kill()
  } finally {
    operator.close()
  }
  return tookMs
}
