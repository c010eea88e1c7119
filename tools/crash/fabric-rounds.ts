import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Dice } from './fabric-dice.ts'
import { FabricEnded, FabricHost, findFreePort, type Power } from './fabric-host.ts'
import { drain, type Load, startLoad } from './load-loops.ts'
import { openParties, type Parties } from './load-parties.ts'
import { FabricVerdict, type Verdict } from './verdict-fabric.ts'
import { type Transport, Witness } from './verdict-witness.ts'

export interface Round extends Verdict {
  readonly round: number
  /** The time and manner of its end. */
  readonly death: string
  readonly messages: number
}

export interface RoundsOptions {
  readonly root: string
  readonly rounds: number
  readonly dice: Dice
  /** Null when only the process dies and the page cache survives. */
  readonly power: Power | null
  onRound(round: Round): void
}

export interface RoundsReport {
  readonly rounds: number
  readonly acknowledged: Readonly<Record<Transport, number>>
  readonly messages: number
  readonly indeterminate: number
  readonly entries: number
  readonly deadLetters: number
  /** The failures that clients received in place of an answer, and how often. */
  readonly unanswered: Readonly<Record<string, number>>
  readonly violations: readonly string[]
}

const loadMsMin = 50
const loadMsMax = 1_500
const stopMsMax = 250

/** A fabric with everyone who talks through it, on one folder over all of its lives. */
export interface Session {
  readonly host: FabricHost
  readonly parties: Parties
  readonly witness: Witness
  readonly load: Load
  readonly verdict: FabricVerdict
  /** Time that the first start took here. */
  readonly startMs: number
  close(): Promise<void>
}

export async function openSession({
  root,
  dice,
  power,
}: Pick<RoundsOptions, 'root' | 'dice' | 'power'>): Promise<Session> {
  const home = fabricHome(root)
  mkdirSync(home, { recursive: true })
  const host = new FabricHost({ root: home, port: await findFreePort(dice), power })
  const startedAt = performance.now()
  await host.start()
  const startMs = performance.now() - startedAt
  const witness = new Witness()
  try {
    const parties = await openParties(host, root, witness)
    const load = startLoad(parties, witness)
    const verdict = new FabricVerdict(parties, witness, dice)
    return {
      ...{ host, parties, witness, load, verdict, startMs },
      async close() {
        await load.close()
        await parties.close()
        await host.stop(stopPatienceMs)
      },
    }
  } catch (cause) {
    await host.kill()
    throw cause
  }
}

export const fabricHome = (root: string): string => join(root, 'fabric')
const stopPatienceMs = 10_000

/**
 * One fabric, one folder, killed at random moments while calls, mesh calls and messages are under
 * way, started again, and compared with what its clients saw. Ends at the first round that lost
 * anything.
 */
export async function runFabricRounds(options: RoundsOptions): Promise<RoundsReport> {
  const session = await openSession(options)
  const { witness, load, verdict } = session
  const sum = { rounds: 0, indeterminate: 0, entries: 0, deadLetters: 0 }
  const violations: string[] = []
  try {
    while (sum.rounds < options.rounds && violations.length === 0) {
      const before = witness.messages
      const death = await dieAndReturn(session, options.dice)
      const found = await verdict.round()
      const round = { ...found, round: ++sum.rounds, death, messages: witness.messages - before }
      sum.indeterminate += found.indeterminate
      sum.entries = found.entries
      sum.deadLetters = found.deadLetters
      violations.push(...found.violations)
      options.onRound(round)
    }
    if (violations.length === 0) violations.push(...(await settleUp(session)))
  } catch (cause) {
    violations.push(`after ${sum.rounds} rounds: ${reasonOf(cause, session.host)}`)
  } finally {
    await session.close().catch((cause: unknown) => violations.push(String(cause)))
  }
  return {
    ...sum,
    acknowledged: witness.totals,
    messages: witness.messages,
    unanswered: Object.fromEntries([...load.faults].toSorted(([, a], [, b]) => b - a)),
    violations,
  }
}

/** A fabric that cannot be asked is as bad as one that lost something. */
function reasonOf(cause: unknown, host: FabricHost): string {
  if (cause instanceof FabricEnded) return cause.message
  const stack = cause instanceof Error ? cause.stack : String(cause)
  return `${stack}\nThe fabric said:\n${host.said}`
}

/** Everything that was acknowledged has to come out of the channel in the end. */
async function settleUp({ parties, witness, verdict }: Session): Promise<readonly string[]> {
  await drain(parties.receiving, witness)
  const { violations } = await verdict.round()
  const missing = witness.missing().map((range) => `acknowledged and never received: ${range}`)
  return [...violations, ...missing]
}

/**
 * Most deaths come under load, some while it stops, some again while it starts. In half of them the
 * clients go on asking all the while, so that the first requests are there before it is ready.
 */
async function dieAndReturn(session: Session, dice: Dice): Promise<string> {
  const { host, load, startMs } = session
  const loadMs = dice.between(loadMsMin, loadMsMax)
  const stops = dice.chance(0.12)
  const stopMs = dice.between(0, stopMsMax)
  const startsTwice = dice.chance(0.15)
  const bootMs = dice.between(0, Math.ceil(startMs))
  const goesOnAsking = dice.chance(0.5)
  load.resume()
  await sleep(loadMs)
  if (stops) await host.stop(stopMs)
  else await host.kill()
  if (!goesOnAsking) await load.pause()
  if (startsTwice) {
    host.spawn()
    await sleep(bootMs)
    await host.kill()
  }
  await host.start()
  await load.pause()
  const death = stops ? `${stopMs} ms into its shutdown` : `after ${loadMs} ms`
  return startsTwice ? `killed ${death}, again ${bootMs} ms into its start` : `killed ${death}`
}
