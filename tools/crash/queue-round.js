import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { openSqliteChannelStore } from '../../packages/fabric/src/adapters/sqlite/channel-store.js'
import { systemRandom } from '../../packages/fabric/src/lib/random.js'
import { bodyOf } from './queue-child.js'

const far = 4_000_000_000_000
/** One life of the store, its death, and what the next start finds. */
export async function runCrashRound(round, acknowledged) {
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
    const order = { channel: 'crash', group: 'g', countMax: 256, now, leaseMs: 3_600_000 }
    const leased = await store.lease(order)
    if (leased.length === 0) break
    resurrected += leased.filter(({ message }) => acknowledged.settled.has(message.offset)).length
  }
  await store.close()
  return { acknowledged: acknowledged.published.size, lost, changed, resurrected }
}
async function liveAndDie(round, { published, settled, settling }) {
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
  let refused = null
  for await (const line of createInterface({ input: child.stdout })) {
    const [what, offset, number] = line.split(' ')
    if (what === 'p') published.set(Number(offset), Number(number))
    if (what === 'i') settling.add(Number(offset))
    if (what === 's') settled.add(Number(offset))
    if (what === 'f') refused = line
    // What it still said before it died was acknowledged all the same, so reading goes on.
    if (++lines === round.killAfter) child.kill('SIGKILL')
  }
  await exited
  if (refused !== null) throw new Error(`the store failed by itself: ${refused}`)
  if (lines < round.killAfter) throw new Error(`the child ended by itself after ${lines} lines`)
}
