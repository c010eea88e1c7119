import { setPriority } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Attack, Target } from './attack.ts'

/** Parent to child, once every receiver is known. */
export interface Orders extends Omit<Target, 'pause'> {}

/** Child to parent: ready with the port of its receiver, then a count of rounds each second. */
export type Report =
  | { readonly ready: { readonly evilPort: number | null } }
  | { readonly rounds: Readonly<Record<string, number>> }

/** Part of one core that this process may use over time. */
const cpuShareMax = 0.08
const pauseMs = 500

const files = process.argv.slice(2)
const attacks = await Promise.all(
  files.map(async (file) => ((await import(file)) as { attack: Attack }).attack),
)
// The client that behaves shares the machine, and comes first.
setPriority(19)

const rounds: Record<string, number> = {}
const say = (report: Report): void => void process.send?.(report)

async function run(attack: Attack, target: Target): Promise<void> {
  for (;;) {
    // A server that closes, resets or refuses is what an attacker lives with.
    await attack.round(target).catch(() => undefined)
    rounds[attack.name] = (rounds[attack.name] ?? 0) + 1
    await target.pause(pauseMs)
  }
}

/** Waits, and then for as long as this process has used more than its share. */
const pause = async (ms: number): Promise<void> => {
  await sleep(ms)
  for (;;) {
    const { user, system } = process.cpuUsage()
    if ((user + system) / 1e6 < cpuShareMax * process.uptime() + 1) return
    await sleep(200)
  }
}

process.on('uncaughtException', (error: NodeJS.ErrnoException) => {
  // Sockets that the server has closed; anything else is a defect of an attack.
  if (error.code === undefined) process.stderr.write(`attacker: ${String(error)}\n`)
})
process.once('disconnect', () => process.exit(0))
process.once('message', (orders: Orders) => {
  for (const attack of attacks) void run(attack, { ...orders, pause })
  setInterval(() => say({ rounds }), 1_000)
})
let evilPort: number | null = null
for (const { listen } of attacks) if (listen !== undefined) evilPort = await listen()
say({ ready: { evilPort } })
