import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { FabricEnded, FabricHost, findFreePort, type Power } from './fabric-host.ts'
import { drain, type Load, startLoad } from './load-loops.ts'
import { openParties, type Parties } from './load-parties.ts'
import type { SeededRandom } from './seeded-random.ts'
import { FabricVerdict, type Verdict } from './verdict-fabric.ts'
import { Observer, type Transport } from './verdict-observer.ts'

export interface Round extends Verdict {
  readonly round: number
  /** The time and manner of its end. */
  readonly death: string
  readonly messages: number
}

export interface RoundsOptions {
  readonly root: string
  readonly rounds: number
  readonly random: SeededRandom
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
  /** Different checkpoints that left the fabric; the log leads through each of them. */
  readonly heads: number
  /** The failures that clients received in place of an answer, and how often. */
  readonly unanswered: Readonly<Record<string, number>>
  readonly violations: readonly string[]
}

const loadMsMin = 50
const loadMsMax = 1_500
const stopMsMax = 250
/**
 * A loss of power takes used values, and what was signed until 20 s after that is not decided: a
 * round that did not wait for this would see hardly anything acknowledged, and prove little.
 */
const answersMsMax = 60_000
const answersPauseMs = 50

/** A fabric with everyone who talks through it, on one folder over all of its lives. */
export interface Session {
  readonly host: FabricHost
  readonly parties: Parties
  readonly observer: Observer
  readonly load: Load
  readonly verdict: FabricVerdict
  /** Time that the first start took here. */
  readonly startMs: number
  close(): Promise<void>
}

export async function openSession({
  root,
  random,
  power,
}: Pick<RoundsOptions, 'root' | 'random' | 'power'>): Promise<Session> {
  const home = fabricHome(root)
  mkdirSync(home, { recursive: true })
  const host = new FabricHost({ root: home, port: await findFreePort(random), power })
  const startedAt = performance.now()
  await host.start()
  const startMs = performance.now() - startedAt
  const observer = new Observer()
  try {
    const parties = await openParties(host, root, observer)
    const load = startLoad(parties, observer)
    const verdict = new FabricVerdict(parties, observer, random)
    return {
      ...{ host, parties, observer, load, verdict, startMs },
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
  const { observer, load, verdict } = session
  const sum = { rounds: 0, indeterminate: 0, entries: 0, deadLetters: 0 }
  const violations: string[] = []
  try {
    while (sum.rounds < options.rounds && violations.length === 0) {
      const before = observer.messages
      const death = await dieAndReturn(session, options.random)
      const found = await verdict.round()
      const round = { ...found, round: ++sum.rounds, death, messages: observer.messages - before }
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
    acknowledged: observer.totals,
    messages: observer.messages,
    heads: observer.heads.count,
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
async function settleUp({ parties, observer, verdict }: Session): Promise<readonly string[]> {
  await drain(parties.receiving, observer)
  const { violations } = await verdict.round()
  const missing = observer.missing().map((range) => `acknowledged and never received: ${range}`)
  return [...violations, ...missing]
}

/**
 * Most deaths come under load, some while it stops, some again while it starts. In half of them the
 * clients go on asking all the while, so that the first requests are there before it is ready.
 */
async function dieAndReturn(session: Session, random: SeededRandom): Promise<string> {
  const { host, load, startMs } = session
  const loadMs = random.between(loadMsMin, loadMsMax)
  const stops = random.chance(0.12)
  const stopMs = random.between(0, stopMsMax)
  const startsTwice = random.chance(0.15)
  const bootMs = random.between(0, Math.ceil(startMs))
  const goesOnAsking = random.chance(0.5)
  const waitsForAnswers = host.power !== null && random.chance(0.8)
  load.resume()
  if (waitsForAnswers) await answersOnAll(session.observer)
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

/** Resolves when every transport has acknowledged something anew. */
async function answersOnAll(observer: Observer): Promise<void> {
  const { gateway, mesh } = observer.totals
  const { messages } = observer
  const all = () =>
    observer.totals.gateway > gateway && observer.totals.mesh > mesh && observer.messages > messages
  const endsAt = performance.now() + answersMsMax
  while (!all()) {
    if (performance.now() > endsAt) {
      throw new Error(`not every transport answered within ${answersMsMax} ms of a start`)
    }
    await sleep(answersPauseMs)
  }
}
