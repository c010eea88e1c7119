import type { Command } from 'commander'
import type { Environment } from '../config/read.ts'
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import type { ExitName } from './exit-codes.ts'
import { parsePath } from './option-values.ts'
import { createOutput, type Output } from './output/output.ts'
import type { Terminal } from './output/terminal.ts'

/** The context that every command is given, so that a test can give something else. */
export interface CliContext {
  readonly terminal: Terminal
  readonly environment: Environment
  readonly clock: Clock
  readonly random: Random
  /** Sets how the command ends when nothing is thrown; `ok` unless this was called. */
  end(exit: ExitName): void
}

/** Options that every command has. */
export interface CommonOptions {
  readonly json?: boolean
  readonly data?: string
  readonly config?: string
}

/** Options of every command that talks to a running fabric. */
export interface ClientOptions extends CommonOptions {
  readonly identity?: string
}

export function addCommonOptions(command: Command): Command {
  return command
    .option('--data <dir>', 'data folder of the fabric (COUNTERSIGN_DATA, .countersign)', parsePath)
    .option(
      '--config <file>',
      'configuration file (COUNTERSIGN_CONFIG, countersign.yaml)',
      parsePath,
    )
    .option('--json', 'answer with JSON on stdout and nothing else')
}

export function addClientOptions(command: Command): Command {
  return addCommonOptions(command).option(
    '--identity <dir>',
    'act as the enrolled identity in this folder, instead of as the operator',
    parsePath,
  )
}

export function outputOf(context: CliContext, options: CommonOptions): Output {
  return createOutput(context.terminal, options.json === true)
}
