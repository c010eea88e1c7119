import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildLossyDisk, lossyDiskMissing } from './queue-power-loss.ts'
import { type CrashVerdict, runCrashRound } from './queue-round.ts'

export interface CrashSeries {
  readonly rounds: number
  readonly synchronous: 'FULL' | 'NORMAL'
  readonly powerLoss: boolean
}

/**
 * Kills the store again and again, each time with what the rounds before left behind. Returns the
 * sum of what was wrong: all zeros except for `acknowledged`, unless `synchronous` is NORMAL.
 */
export async function crashQueueStore(series: CrashSeries): Promise<CrashVerdict> {
  const scratch = mkdtempSync(join(tmpdir(), 'queue-crash-'))
  try {
    const disk = series.powerLoss ? buildLossyDisk(scratch) : null
    const directory = join(scratch, 'data')
    const acknowledged = {
      published: new Map<number, number>(),
      settled: new Set<number>(),
      settling: new Set<number>(),
    }
    let sum: CrashVerdict = { acknowledged: 0, lost: 0, changed: 0, resurrected: 0 }
    for (let round = 0; round < series.rounds; round++) {
      const verdict = await runCrashRound(
        {
          directory,
          synchronous: series.synchronous,
          killAfter: 20 + Math.floor(Math.random() * 400),
          environment: disk?.environment(directory) ?? {},
          // A power failure keeps some of what was not synced: from nothing to everything.
          afterKill: () =>
            disk?.loseUnsynced(directory, (count) =>
              round % 2 === 0 ? 0 : Math.floor(Math.random() * (count + 1)),
            ),
        },
        acknowledged,
      )
      sum = {
        acknowledged: verdict.acknowledged,
        lost: sum.lost + verdict.lost,
        changed: sum.changed + verdict.changed,
        resurrected: sum.resurrected + verdict.resurrected,
      }
      // A message that is lost once would be counted in every later round.
      if (verdict.lost + verdict.changed + verdict.resurrected > 0) break
    }
    return sum
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

if (import.meta.main) {
  const rounds = Number(process.argv[2] ?? 20)
  const missing = lossyDiskMissing()
  const print = (what: string, verdict: CrashVerdict) =>
    process.stdout.write(`${what}: ${JSON.stringify(verdict)}\n`)
  const killed = await crashQueueStore({ rounds, synchronous: 'FULL', powerLoss: false })
  print(`${rounds} kills, FULL`, killed)
  let failed = killed.lost + killed.changed + killed.resurrected > 0
  if (missing === null) {
    const full = await crashQueueStore({ rounds, synchronous: 'FULL', powerLoss: true })
    print(`${rounds} power failures, FULL`, full)
    const normal = await crashQueueStore({ rounds, synchronous: 'NORMAL', powerLoss: true })
    print(`up to ${rounds} power failures, NORMAL (must lose)`, normal)
    failed ||= full.lost + full.changed + full.resurrected > 0
    failed ||= normal.lost + normal.resurrected === 0
  } else {
    process.stdout.write(`power failures: skipped, ${missing}\n`)
  }
  process.exitCode = failed ? 1 : 0
}
