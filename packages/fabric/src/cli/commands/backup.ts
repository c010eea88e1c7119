import { resolve } from 'node:path'
import type { Command } from 'commander'
import { toBackupFailure } from '../backup-failure.ts'
import { addCommonOptions, type CliContext, type CommonOptions, outputOf } from '../context.ts'
import { listRunning } from '../data-folder.ts'
import { withOperatorAt } from '../fabric-client.ts'
import { Failure } from '../failure.ts'
import { formatCount } from '../output/quantities.ts'
import { createSteps } from '../output/steps.ts'
import { configOf } from '../running-fabric.ts'

interface BackupOptions extends CommonOptions {
  readonly check?: boolean
}

export function addBackupCommand(program: Command, context: CliContext): void {
  addCommonOptions(
    program
      .command('backup')
      .argument('<folder>', 'empty, or with an earlier backup, of which unchanged files are kept')
      .description('copy the data folder, also of a running fabric')
      .option('--check', 'derive all of each log from the copy, not only what is new'),
  ).action((folder: string, options: BackupOptions) => backUp(context, resolve(folder), options))
}

async function backUp(context: CliContext, folder: string, options: BackupOptions): Promise<void> {
  const output = outputOf(context, options)
  const config = configOf(context, options)
  const { dataDir } = config
  const running = new Map((await listRunning(dataDir)).map((each) => [each.slot, each]))
  const { makeBackup } = await import('../../compose/backup.ts')
  const steps = createSteps(output)
  const report = await makeBackup({
    ...{ config, folder, clock: context.clock, random: context.random },
    running: [...running.keys()],
    checkAll: options.check === true,
    onStep: (step) => steps.enter(step),
    ask(slot) {
      const at = running.get(slot)
      if (at === undefined) throw new Failure('unreachable', `no fabric has the log slot ${slot}`)
      return withOperatorAt(context, { dataDir, origin: at.origin }, (fabric) =>
        fabric.admin('backup.make', { slot }),
      )
    },
  })
    .catch((error: unknown) => Promise.reject(toBackupFailure('not backed up', error)))
    .finally(() => steps.end())
  output.show(report, ({ logs, copied, kept, trustFingerprint, state, unknown }) => {
    const { paint, facts } = output.terminal
    return [
      `${paint('green', 'backed up')} to ${folder}`,
      facts([
        ...logs.map(({ slot, size }): [string, string] => [
          `log ${slot}`,
          formatCount(size, 'entry', 'entries'),
        ]),
        ['log files', `${copied} copied, ${kept} kept`],
        ['trust', trustFingerprint],
      ]),
      ...(state === 'sqlite' ? [] : [stateElsewhere]),
      ...(unknown.length === 0 ? [] : [`not copied, since not of a fabric: ${unknown.join(', ')}`]),
      `${paint('cyan', 'next:')} ${nextSteps}`,
    ].join('\n')
  })
}

const stateElsewhere =
  'The state and the keys are in PostgreSQL. Back that database up first, with its own tools.'
const nextSteps =
  'keep the master key and the configuration elsewhere, and `log/` apart from `keys/`'
