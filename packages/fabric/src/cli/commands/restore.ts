import { resolve } from 'node:path'
import { receiptBytesMax } from '@countersign/protocol'
import type { Command } from 'commander'
import { readNamed } from '../../lib/named-path.ts'
import { toBackupFailure } from '../backup-failure.ts'
import { addCommonOptions, type CliContext, type CommonOptions, outputOf } from '../context.ts'
import { parsePath } from '../option-values.ts'
import { formatCount } from '../output/quantities.ts'
import { createSteps } from '../output/steps.ts'
import { configOf } from '../running-fabric.ts'

interface RestoreOptions extends CommonOptions {
  readonly newest?: readonly string[]
  readonly entriesLost?: boolean
}

export function addRestoreCommand(program: Command, context: CliContext): void {
  addCommonOptions(
    program
      .command('restore')
      .argument('<folder>', 'a backup')
      .description('make the data folder from a backup; it must not exist, or be empty')
      .option(
        '--newest <file>',
        'the newest checkpoint or receipt that you have, of each log; can be repeated',
        collectPaths,
      )
      .option('--entries-lost', 'accept that entries which the backup lacks are lost'),
  ).action((folder: string, options: RestoreOptions) => restore(context, resolve(folder), options))
}

function collectPaths(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, parsePath(text)]
}

async function restore(
  context: CliContext,
  folder: string,
  options: RestoreOptions,
): Promise<void> {
  const output = outputOf(context, options)
  const config = configOf(context, options)
  const newest = (options.newest ?? []).map((name) => ({
    name,
    bytes: readNamed(name, receiptBytesMax),
  }))
  const { restoreBackup } = await import('../../compose/restore.ts')
  const steps = createSteps(output)
  const report = await restoreBackup({
    ...{ config, folder, newest, clock: context.clock },
    entriesLost: options.entriesLost === true,
    onStep: (step) => steps.enter(step),
  })
    .catch((error: unknown) => Promise.reject(toBackupFailure('not restored', error)))
    .finally(() => steps.end())
  output.show(report, ({ dataDir, at, logs, state, trustFingerprint }) => {
    const { paint, facts } = output.terminal
    return [
      `${paint('green', 'restored')} ${dataDir}`,
      facts([
        ['backup of', new Date(at).toISOString()],
        ...logs.map(({ slot, size, missing }): [string, string] => [
          `log ${slot}`,
          `${formatCount(size, 'entry', 'entries')}, ${lossOf(missing)}`,
        ]),
        ['trust', trustFingerprint],
      ]),
      ...(state === 'sqlite' ? [] : [stateElsewhere]),
      `${paint('cyan', 'next:')} ${nextSteps}`,
    ].join('\n')
  })
}

function lossOf(missing: number | null): string {
  if (missing === null) return 'an unknown number lost'
  return missing === 0 ? 'none lost' : `${missing} lost`
}

const stateElsewhere =
  'The state and the keys are in PostgreSQL. Restore that database as it was before the backup.'
const nextSteps =
  'put the master key back, start each replica once, and repeat changes since the backup, erasures and revocations first'
