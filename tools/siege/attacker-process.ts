import { setPriority } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Attack, Target } from './attack.ts'
import { fight, newTally, type Tally } from './tally.ts'

/** Parent to child, once every receiver is known. */
export interface Orders extends Omit<Target, 'pause' | 'confirm'> {}

/**
 * Child to parent: ready with its attacks and the port of its receiver, then what came of them,
 * each second.
 */
export type Report =
  | { readonly ready: { readonly names: readonly string[]; readonly evilPort: number | null } }
  | { readonly tallies: Readonly<Record<string, Tally>> }

/** Part of one core that this process may use over time. */
const cpuShareMax = 0.08
const cpuSecondsAtOnce = 2
const pauseMs = 500

const files = process.argv.slice(2)
const attacks = await Promise.all(
  files.map(async (file) => ((await import(file)) as { attack: Attack }).attack),
)
// The client that behaves shares the machine, and comes first.
setPriority(19)

const tallies: Record<string, Tally> = {}
let before = { cpu: process.cpuUsage(), uptime: process.uptime() }
const say = (report: Report): void => void process.send?.(report)

async function run(attack: Attack, target: Omit<Target, 'confirm'>): Promise<void> {
  const tally = newTally()
  tallies[attack.name] = tally
  for (;;) {
    await fight(attack, target, tally)
    await target.pause(pauseMs)
  }
}

/** Waits, and then for as long as this process has used more than its share. */
const pause = async (ms: number): Promise<void> => {
  await sleep(ms)
  for (;;) {
    const { user, system } = process.cpuUsage(before.cpu)
    const seconds = process.uptime() - before.uptime
    if ((user + system) / 1e6 < cpuShareMax * seconds + cpuSecondsAtOnce) return
    await sleep(200)
  }
}

process.on('uncaughtException', (error: NodeJS.ErrnoException) => {
  // Sockets that the server has closed; anything else is a defect of an attack.
  if (error.code === undefined) process.stderr.write(`attacker: ${String(error)}\n`)
})
process.once('disconnect', () => process.exit(0))
process.once('message', (orders: Orders) => {
  // The cost of loading is not part of the siege.
  before = { cpu: process.cpuUsage(), uptime: process.uptime() }
  for (const attack of attacks) void run(attack, { ...orders, pause })
  setInterval(() => say({ tallies }), 1_000)
})
let evilPort: number | null = null
for (const { listen } of attacks) if (listen !== undefined) evilPort = await listen()
say({ ready: { names: attacks.map(({ name }) => name), evilPort } })
