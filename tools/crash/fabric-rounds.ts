import { setTimeout as sleep } from 'node:timers/promises'
import { FabricHost, findFreePort } from './fabric-host.ts'
import { drain, type Load, startLoad } from './load-loops.ts'
import { openParties } from './load-parties.ts'
import { FabricVerdict, type Verdict } from './verdict-fabric.ts'
import { type Transport, Witness } from './verdict-witness.ts'

export interface Round extends Verdict {
  readonly round: number
  /** When and how it died. */
  readonly death: string
  readonly messages: number
}

export interface RoundsOptions {
  readonly root: string
  readonly rounds: number
  readonly random: () => number
  onRound(round: Round): void
}

export interface RoundsReport {
  readonly rounds: number
  readonly totals: Readonly<Record<Transport, number>>
  readonly messages: number
  readonly indeterminate: number
  readonly entries: number
  readonly deadLetters: number
  readonly violations: readonly string[]
}

const loadMsMin = 50
const loadMsMax = 1_500
/** Longer than a start takes here, so that some deaths come after it, and most come during it. */
const startMsMax = 1_200
const stopMsMax = 250

/**
 * Part A: one fabric, one folder, killed at random moments while calls, mesh calls and messages are
 * under way, started again, and compared with what its clients saw. Ends at the first round that
 * lost anything.
 */
export async function runFabricRounds(options: RoundsOptions): Promise<RoundsReport> {
  const { root, random } = options
  const host = new FabricHost({ root, port: await findFreePort(random) })
  const witness = new Witness()
  await host.start()
  const parties = await openParties(host, root, witness)
  const load = startLoad(parties, witness)
  const verdict = new FabricVerdict(parties, witness, random)
  try {
    const violations: string[] = []
    let last: Round | null = null
    let indeterminate = 0
    for (let round = 1; round <= options.rounds && violations.length === 0; round++) {
      const before = witness.messages
      const death = await dieAndReturn(host, load, random)
      last = { round, death, messages: witness.messages - before, ...(await verdict.round()) }
      indeterminate += last.indeterminate
      violations.push(...last.violations)
      options.onRound(last)
    }
    if (violations.length === 0) violations.push(...(await settleUp(parties, witness, verdict)))
    return {
      rounds: last?.round ?? 0,
      totals: witness.totals,
      messages: witness.messages,
      indeterminate,
      entries: last?.entries ?? 0,
      deadLetters: last?.deadLetters ?? 0,
      violations,
    }
  } finally {
    await load.close()
    await parties.close()
    await host.stop(10_000)
  }
}

/** Everything that was acknowledged has to come out of the channel in the end. */
async function settleUp(
  parties: Awaited<ReturnType<typeof openParties>>,
  witness: Witness,
  verdict: FabricVerdict,
): Promise<readonly string[]> {
  await drain(parties.receiving, witness)
  const { violations } = await verdict.round()
  const missing = witness.missing().map((range) => `acknowledged and never received: ${range}`)
  return [...violations, ...missing]
}

/** Most deaths come under load; some come while it starts, and some while it stops. */
async function dieAndReturn(host: FabricHost, load: Load, random: () => number): Promise<string> {
  const loadMs = Math.round(loadMsMin + random() * (loadMsMax - loadMsMin))
  const kind = random()
  const staysUnderLoad = random() < 0.5
  load.resume()
  await sleep(loadMs)
  let death = `killed after ${loadMs} ms`
  if (kind < 0.12) {
    const stopMs = Math.round(random() * stopMsMax)
    await host.stop(stopMs)
    death = `killed ${stopMs} ms into its shutdown`
  } else {
    await host.kill()
  }
  if (!staysUnderLoad) await load.pause()
  if (kind > 0.85) {
    const startMs = Math.round(random() * startMsMax)
    host.spawn()
    await sleep(startMs)
    await host.kill()
    death += `, again ${startMs} ms into its start`
  }
  await host.start()
  await load.pause()
  return death
}
