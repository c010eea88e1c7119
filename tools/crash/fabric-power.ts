import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { FabricEnded, type Power } from './fabric-host.ts'
import { fabricHome, openSession } from './fabric-rounds.ts'
import { buildLossyDisk, type LossyDisk } from './queue-power-loss.ts'
import type { SeededRandom } from './seeded-random.ts'

/**
 * A disk under `root` on which an unsynced write survives a power failure by luck, or not at all.
 */
export function createPower(root: string, random: SeededRandom): Power {
  const disk = buildLossyDisk(join(root, 'disk'))
  const home = fabricHome(root)
  return {
    environment: () => disk.environment(home),
    fail: () => disk.loseUnsynced(home, survival(random)),
  }
}

/** Half of the failures take everything; the others leave the first of each file's writes. */
function survival(random: SeededRandom): Parameters<LossyDisk['loseUnsynced']>[1] {
  const total = random.chance(0.5)
  return (count) => (total ? 0 : random.between(0, count))
}

/** Makes syncs do nothing, for the experiment that shows what the rounds would see then. */
const noSync = `int fsync(int fd) { (void)fd; return 0; }
int fdatasync(int fd) { (void)fd; return 0; }
`

/**
 * The control experiment: the same fabric and the same checks, except that for one life no sync
 * reaches the disk. Returns the violations found; at least one has to be a loss.
 */
export async function loseWithoutSync(
  root: string,
  random: SeededRandom,
): Promise<readonly string[]> {
  const disk = buildLossyDisk(join(root, 'disk'))
  const source = join(root, 'no-sync.c')
  const library = join(root, 'no-sync.so')
  writeFileSync(source, noSync)
  execFileSync('gcc', ['-O2', '-shared', '-fPIC', '-o', library, source])
  const home = fabricHome(root)
  const fail = () => void disk.loseUnsynced(home, () => 0)
  const honest: Power = { environment: () => disk.environment(home), fail }
  const session = await openSession({ root, random, power: honest })
  const { host, load, verdict } = session
  try {
    await host.kill()
    host.power = {
      environment: () => {
        const environment = disk.environment(home)
        return { ...environment, LD_PRELOAD: `${library} ${environment['LD_PRELOAD'] ?? ''}` }
      },
      fail,
    }
    await host.start()
    load.resume()
    await sleep(controlLoadMs)
    await host.kill()
    await load.pause()
    host.power = honest
    // It may see for itself that something is missing, and refuse to serve.
    const refused = await host.start().then(() => null, toRefused)
    return refused === null ? (await verdict.round()).violations : [refused]
  } finally {
    await session.close().catch(() => undefined)
  }
}

function toRefused(cause: unknown): string {
  if (cause instanceof FabricEnded) return cause.message
  throw cause
}

const controlLoadMs = 1_500
