import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { runFirstStarts } from './fabric-first-starts.ts'
import { createPower, loseWithoutSync } from './fabric-power.ts'
import { type Round, type RoundsReport, runFabricRounds } from './fabric-rounds.ts'
import { forgetHandedOut } from './lossy-damage.ts'
import { crashQueueStore } from './queue-store.ts'
import { createSeededRandom } from './seeded-random.ts'
import { crashLedgerStore, loseLedgerWithoutSync } from './verdict-stores.ts'

/** One part of the run: what it lost, nothing when all is well. */
export interface Part {
  readonly violations: readonly string[]
  readonly figures: Readonly<Record<string, unknown>>
}

export interface PartOptions {
  /** A directory of this part alone; what it holds after a loss is the evidence. */
  readonly root: string
  readonly rounds: number
  readonly seed: number
  /** Null when this machine cannot lose unsynced writes, and why. */
  readonly powerMissing: string | null
  /** One line for each round. */
  step(line: string): void
}

export interface PartEntry {
  readonly name: string
  /** Kills for one round of this part. */
  readonly killsPerRound: number
  readonly needsPower: boolean
  run(options: PartOptions): Promise<Part>
}

/**
 * Kill -9 finds no missing sync, because the page cache outlives the process; so each store, the
 * whole fabric, and a fabric that has only begun to exist, lose what was not synced as well. Each
 * of these parts runs its control experiment, which has to lose something.
 */
export const PARTS: readonly PartEntry[] = [
  { name: 'kills under load', killsPerRound: 1, needsPower: false, run: killUnderLoad },
  { name: 'ledger store without power', killsPerRound: 10, needsPower: false, run: ledgerStore },
  { name: 'queue store without power', killsPerRound: 10, needsPower: true, run: queueStore },
  { name: 'fabric without power', killsPerRound: 10, needsPower: true, run: wholeFabric },
  { name: 'deaths in the first start', killsPerRound: 10, needsPower: false, run: firstStarts },
]

async function killUnderLoad({ root, rounds, seed, step }: PartOptions): Promise<Part> {
  const report = await runFabricRounds({
    ...{ root, rounds },
    random: createSeededRandom(seed),
    power: null,
    onRound: (round) => step(describe('round', rounds, round)),
  })
  return { violations: report.violations, figures: figuresOf(report) }
}

async function ledgerStore({ rounds, seed }: PartOptions): Promise<Part> {
  const violations = [...(await crashLedgerStore(rounds, createSeededRandom(seed)))]
  if (!(await loseLedgerWithoutSync())) violations.push(blind('a ledger store'))
  if (!(await forgetHandedOut())) violations.push(blind('a head that is handed out'))
  return { violations, figures: { rounds } }
}

async function queueStore({ rounds }: PartOptions): Promise<Part> {
  const full = await crashQueueStore({ rounds, synchronous: 'FULL', powerLoss: true })
  const sum = full.lost + full.changed + full.resurrected
  const violations = sum > 0 ? [`queue store: ${JSON.stringify(full)}`] : []
  const control = await crashQueueStore({
    rounds: controlRoundsMax,
    synchronous: 'NORMAL',
    powerLoss: true,
  })
  if (control.lost + control.resurrected === 0) violations.push(blind('a queue store'))
  const figures = { rounds, acknowledged: full.acknowledged, lostByControl: control.lost }
  return { violations, figures }
}

/** A store that syncs only at checkpoints may be lucky for a few rounds. */
const controlRoundsMax = 20

async function wholeFabric({ root, rounds, seed, step }: PartOptions): Promise<Part> {
  const random = createSeededRandom(seed + 1)
  const report = await runFabricRounds({
    ...{ root, rounds, random },
    power: createPower(root, random),
    onRound: (round) => step(describe('power failure', rounds, round)),
  })
  const violations = [...report.violations]
  // A loss is reported at once; a control experiment would only hide it.
  if (violations.length > 0) return { violations, figures: figuresOf(report) }
  const control = join(root, 'control')
  mkdirSync(control)
  const lost = await loseWithoutSync(control, random)
  if (lost.length === 0) violations.push(blind('a fabric'))
  return {
    violations,
    figures: { ...figuresOf(report), control: lost[0]?.slice(0, controlCharsMax) },
  }
}

async function firstStarts({ root, rounds, seed, powerMissing, step }: PartOptions): Promise<Part> {
  const violations = await runFirstStarts({
    ...{ root, rounds },
    random: createSeededRandom(seed + 2),
    createPower: powerMissing === null ? createPower : null,
    onFirstStart: (round, death, lost) =>
      step(`first start ${round}/${rounds} ${death}: ${lost.length === 0 ? 'ok' : 'LOST'}`),
  })
  return { violations, figures: { rounds, powerFailures: powerMissing === null } }
}

/** Enough to see that the control experiment failed for the right reason. */
const controlCharsMax = 160

const blind = (what: string): string =>
  `control: ${what} without syncs lost nothing, so that it lost nothing before proves nothing`

const count = (value: number): string => value.toLocaleString('en')

function describe(what: string, rounds: number, round: Round): string {
  const verdict = round.violations.length === 0 ? 'ok' : 'LOST'
  const sums = `${count(round.exchanges)} exchanges, ${count(round.messages)} messages`
  const ledger = `ledger ${count(round.entries)} entries`
  return `${what} ${round.round}/${rounds} ${round.death}: ${sums}, ${ledger}, ${verdict}`
}

function figuresOf({ violations: _, ...figures }: RoundsReport) {
  return figures
}
