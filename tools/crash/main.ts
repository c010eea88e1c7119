import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { PARTS, type Part, type PartEntry } from './fabric-parts.ts'
import { lossyDiskMissing } from './queue-power-loss.ts'

const usage = `usage: npm run crash -- [--rounds <1 to 100000>] [--seed <number>] [--json]

Kills a whole fabric with SIGKILL under load on all three transports, again and again, and a tenth
as often takes away everything that was not yet synced. Ends with 1 when anything that had been
acknowledged was lost, and keeps the files.
`
const roundsMax = 100_000

interface Options {
  readonly rounds: number
  readonly seed: number
  readonly json: boolean
}

function readOptions(): Options | null {
  try {
    const { values } = parseArgs({
      options: {
        rounds: { type: 'string', default: '20' },
        seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
        json: { type: 'boolean', default: false },
      },
    })
    const rounds = Number(values.rounds)
    const seed = Number(values.seed)
    const isRounds = Number.isSafeInteger(rounds) && rounds >= 1 && rounds <= roundsMax
    return isRounds && Number.isSafeInteger(seed) ? { rounds, seed, json: values.json } : null
  } catch {
    // An unknown option: the usage lists the known ones.
    return null
  }
}

/** Progress goes to standard error when standard output is for a program. */
class Progress {
  readonly #stream: NodeJS.WriteStream

  constructor(json: boolean) {
    this.#stream = json ? process.stderr : process.stdout
  }

  /** On a terminal one line that changes, elsewhere one line each. */
  readonly step = (line: string): void => {
    this.#stream.write(this.#stream.isTTY ? `\r\u001B[2K${line}` : `${line}\n`)
  }

  readonly say = (line: string): void => {
    this.#stream.write(this.#stream.isTTY ? `\r\u001B[2K${line}\n` : `${line}\n`)
  }
}

interface Told extends Part {
  readonly part: string
  readonly seconds: number
  readonly skipped: string | null
}

async function runPart(
  entry: PartEntry,
  { rounds, seed }: Options,
  { root, step }: { readonly root: string; readonly step: (line: string) => void },
): Promise<Told> {
  const powerMissing = lossyDiskMissing()
  const startedAt = performance.now()
  const own = Math.max(1, Math.floor(rounds / entry.killsPerRound))
  const part = entry.name
  if (entry.needsPower && powerMissing !== null) {
    // In CI, where the output is not read, a part that does not run must not look like one that
    // passed.
    const violations = process.env['CI'] === 'true' ? [`skipped: ${powerMissing}`] : []
    return { part, violations, skipped: powerMissing, figures: {}, seconds: 0 }
  }
  const told = await entry
    .run({ root, rounds: own, seed, powerMissing, step })
    .catch((cause: unknown) => ({ violations: [reasonOf(cause)], figures: {} }))
  const seconds = Math.round((performance.now() - startedAt) / 1000)
  return { part, skipped: null, seconds, ...told }
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
}

function summaryOf({ part, skipped, violations, figures, seconds }: Told): string {
  if (skipped !== null) return `${part}: skipped, ${skipped}`
  const verdict = violations.length === 0 ? 'nothing lost' : `${violations.length} LOST`
  return `${part}: ${verdict}, ${seconds} s, ${JSON.stringify(figures)}`
}

async function run(options: Options): Promise<boolean> {
  const progress = new Progress(options.json)
  progress.say(`seed ${options.seed}`)
  const root = mkdtempSync(join(tmpdir(), 'countersign-crash-'))
  const told: Told[] = []
  for (const [at, entry] of PARTS.entries()) {
    const own = join(root, String(at + 1))
    mkdirSync(own)
    const part = await runPart(entry, options, { root: own, step: progress.step })
    progress.say(summaryOf(part))
    for (const violation of part.violations) progress.say(`  ${violation}`)
    if (part.violations.length > 0) progress.say(`  the files are in ${own}`)
    else rmSync(own, { recursive: true })
    told.push(part)
  }
  const whole = told.every(({ violations }) => violations.length === 0)
  if (whole) rmSync(root, { recursive: true })
  if (options.json) {
    const { rounds, seed } = options
    process.stdout.write(`${JSON.stringify({ rounds, seed, whole, parts: told }, null, 2)}\n`)
  }
  return whole
}

const options = readOptions()
if (options === null) {
  process.stderr.write(usage)
  process.exitCode = 2
} else {
  process.exitCode = (await run(options)) ? 0 : 1
}
