import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { Command } from 'commander'
import type { Config } from '../../config/config.ts'
import { addCommonOptions, type CliContext, outputOf } from '../context.ts'
import { DATA_FILES, replaceFile } from '../data-folder.ts'
import { loadDemo, runDemoOn } from '../demo-package.ts'
import { openEnding } from '../ending.ts'
import { untilAborted } from '../interruption.ts'
import { logFormatOption, logOf } from '../logging.ts'
import { parsePort, parseTime } from '../option-values.ts'
import type { Output } from '../output/output.ts'
import {
  configOf,
  graceMs,
  type StartedFabric,
  type StartOptions,
  startFabric,
} from '../running-fabric.ts'

interface UpOptions extends StartOptions {
  readonly acceptClock?: number
  readonly demo?: boolean
  readonly exitAfterDemo?: boolean
  readonly logFormat?: 'text' | 'json'
}

export function addUpCommand(program: Command, context: CliContext): void {
  addCommonOptions(
    program
      .command('up')
      .description('start the fabric and keep it running until interrupted')
      .option('--port <number>', 'listen there; 0 takes a free port', parsePort)
      .option(
        '--replica',
        'run next to other processes of this data folder, with a log slot of its own',
      )
      .option(
        '--accept-clock <time>',
        'for this start, let the clock be behind the ledger: the time of its newest entry',
        parseTime,
      )
      .option('--demo', 'the first time in a data folder, run the demo as well')
      .option('--exit-after-demo', 'stop when the demo has ended')
      .addOption(logFormatOption()),
  ).action((options: UpOptions) => up(context, options))
}

async function up(context: CliContext, options: UpOptions): Promise<void> {
  const output = outputOf(context, options)
  const { acceptClock, logFormat } = options
  const asked = configOf(context, options)
  const config =
    logFormat === undefined ? asked : { ...asked, log: { ...asked.log, format: logFormat } }
  const keepsRunning = options.exitAfterDemo !== true
  const marker = join(config.dataDir, DATA_FILES.demoDone)
  // The second time in a data folder, the agents of the demo are there already.
  const isWanted = (options.demo === true || !keepsRunning) && !existsSync(marker)
  // Before the fabric starts, so that a missing demo leaves no fabric behind.
  const demo = isWanted ? await loadDemo() : null
  await runFabric(context, { config, output, acceptClock }, async (fabric) => {
    showReady(fabric, output)
    const held = demo === null || (await runDemoOn(demo, context, { fabric, output, keepsRunning }))
    if (demo !== null && held) await replaceFile(marker, '')
    if (!keepsRunning && !held) context.end('no')
    return keepsRunning
  })
}

export interface RunOrder {
  readonly config: Config
  readonly output: Output
  readonly acceptClock?: number | undefined
}

/** Starts a fabric, does `then`, and keeps it running for as long as that resolves to true for. */
export async function runFabric(
  context: CliContext,
  { config, output, acceptClock }: RunOrder,
  then: (fabric: StartedFabric) => Promise<boolean>,
): Promise<void> {
  const progress = output.progress('Starting the fabric')
  const ending = openEnding(context)
  const events = { log: logOf(context, config.log), onFatal: ending.fatal }
  try {
    const starting = startFabric(context, config, events, { acceptClock })
    const fabric = await starting.finally(() => progress.stop())
    ending.acceptSignals(graceMs, () => output.note('\nStopping; once more to stop at once.'))
    try {
      // A signal does not wait for what a command does on its fabric.
      const stays = await Promise.race([then(fabric), untilAborted(ending.signal)])
      if (stays === true) await untilAborted(ending.signal)
    } finally {
      const faults = await fabric.close(ending.isFatal ? 0 : graceMs)
      if (faults.length > 0) context.end('cut')
    }
  } finally {
    ending.finish()
  }
}

function showReady(fabric: StartedFabric, output: Output): void {
  const { origin, dataDir, rootFile, trustFingerprint, observeUrl } = fabric
  const places = { origin, pid: process.pid, dataDir, rootFile, trustFingerprint, observeUrl }
  const ready = { event: 'ready', ...places }
  output.line(ready, () => {
    const { paint, facts } = output.terminal
    const here = (path: string): string => {
      const short = relative('.', path)
      return short.startsWith('..') ? path : short || '.'
    }
    const steps = [
      ['npx countersign protect http://127.0.0.1:9000 --as shop', 'protect an agent'],
      ['npx countersign agent enroll planner', 'enrol an agent'],
      ['npx countersign ledger watch', 'see every decision'],
    ] as const
    const width = Math.max(...steps.map(([command]) => command.length))
    return [
      `\n${paint('bold', 'Countersign is running.')}\n`,
      facts([
        ['gateway', { text: origin, style: 'cyan' }],
        ['console', { text: `${origin}/console`, style: 'cyan' }],
        ['probes', observeUrl ?? '(off)'],
        ['data', here(dataDir)],
        ['root', here(rootFile)],
        ['trust', trustFingerprint],
      ]),
      '\nNext, in another terminal:',
      ...steps.map(([command, why]) => `  ${command.padEnd(width)}  ${paint('dim', why)}`),
      '\nStop with Ctrl-C.',
    ].join('\n')
  })
}
