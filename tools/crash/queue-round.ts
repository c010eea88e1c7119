import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { openSqliteChannelStore } from '../../packages/fabric/src/adapters/sqlite/channel-store.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { bodyOf } from './queue-child.ts'

export interface CrashRound {
  readonly directory: string
  readonly synchronous: 'FULL' | 'NORMAL'
  /** The child is killed once it has printed this many lines. */
  readonly killAfter: number
  readonly environment: Readonly<Record<string, string>>
  /** Changes the files between the kill and the next start. */
  readonly afterKill: () => void
}

/** Acknowledged, over all rounds of one directory. */
export interface Acknowledged {
  /** Number by offset. */
  readonly published: Map<number, number>
  readonly settled: Set<number>
  /** About to be settled when the child died: gone or there, both are right. */
  readonly settling: Set<number>
}

export interface CrashVerdict {
  readonly acknowledged: number
  /** Acknowledged as published, and neither to be found nor settled. */
  readonly lost: number
  /** There, but with another body. */
  readonly changed: number
  /** Acknowledged as settled, and given out again. */
  readonly resurrected: number
}

const far = 4_000_000_000_000

/** One life of the store, its death, and what the next start finds. */
export async function runCrashRound(
  round: CrashRound,
  acknowledged: Acknowledged,
): Promise<CrashVerdict> {
  await liveAndDie(round, acknowledged)
  round.afterKill()
  const store = await openSqliteChannelStore({
    directory: round.directory,
    clock: { now: () => far, monotonic: () => 0 },
    random: systemRandom,
    onFatal: () => undefined,
    sweepMs: 3_600_000,
  })
  let lost = 0
  let changed = 0
  let resurrected = 0
  for (const [offset, number] of acknowledged.published) {
    const found = await store.find('crash', offset)
    if (found === null && !acknowledged.settling.has(offset)) lost++
    if (found !== null && Buffer.compare(found.sealed, bodyOf(number)) !== 0) changed++
  }
  // Every lease of the dead child has run out by then, and nothing has expired.
  const now = Date.now() + 7_200_000
  for (;;) {
    const order = {
      channel: 'crash',
      group: 'g',
      countMax: 256,
      bytesMax: 2 ** 23,
      now,
      leaseMs: 3_600_000,
    }
    const leased = await store.lease(order)
    if (leased.length === 0) break
    resurrected += leased.filter(({ message }) => acknowledged.settled.has(message.offset)).length
  }
  await store.close()
  return { acknowledged: acknowledged.published.size, lost, changed, resurrected }
}

async function liveAndDie(
  round: CrashRound,
  { published, settled, settling }: Acknowledged,
): Promise<void> {
  const child = spawn(
    process.execPath,
    [
      '--conditions=countersign-source',
      fileURLToPath(new URL('./queue-child.ts', import.meta.url)),
      round.directory,
      round.synchronous,
      String(Math.max(-1, ...published.values()) + 1_000_000),
    ],
    { env: { ...process.env, ...round.environment }, stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const exited = once(child, 'exit')
  let lines = 0
  let refused: string | null = null
  for await (const line of createInterface({ input: child.stdout })) {
    const [what, offset, number] = line.split(' ')
    if (what === 'p') published.set(Number(offset), Number(number))
    if (what === 'i') settling.add(Number(offset))
    if (what === 's') settled.add(Number(offset))
    if (what === 'f') refused = line
    // Lines that it wrote before it died were acknowledged all the same, so reading goes on.
    if (++lines === round.killAfter) child.kill('SIGKILL')
  }
  await exited
  if (refused !== null) throw new Error(`the store failed by itself: ${refused}`)
  if (lines < round.killAfter) throw new Error(`the child ended by itself after ${lines} lines`)
}
