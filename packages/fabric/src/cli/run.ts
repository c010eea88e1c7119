import { CommanderError } from 'commander'
import { readEnvironment } from '../config/read.ts'
import { systemClock } from '../lib/clock.ts'
import { systemRandom } from '../lib/random.ts'
import type { CliContext } from './context.ts'
import { type ExitName, exitCode } from './exit-codes.ts'
import { toFailure } from './failure.ts'
import { createTerminal, type Screen, type Terminal } from './output/terminal.ts'
import { createProgram } from './program.ts'

export interface RunOptions {
  readonly stdout: Screen
  readonly stderr: Screen
}

/** Carries out one command line, without the program's own name; resolves to the exit code. */
export async function run(
  args: readonly string[],
  { stdout, stderr }: RunOptions = process,
): Promise<number> {
  const clock = systemClock
  const environment = readEnvironment()
  const terminal = createTerminal({ stdout, stderr, colours: environment.colours, clock })
  let ended: ExitName = 'ok'
  const context: CliContext = {
    terminal,
    environment,
    clock,
    random: systemRandom,
    end: (exit) => {
      ended = exit
    },
  }
  try {
    await createProgram(context).parseAsync(args, { from: 'user' })
    return exitCode(ended)
  } catch (error) {
    return reportFailure(terminal, error)
  }
}

/** Commander reports help and version as errors of exit code 0; they are answers. */
function reportFailure(terminal: Terminal, error: unknown): number {
  if (error instanceof CommanderError && error.exitCode === 0) return exitCode('ok')
  // A group of commands without one of them has printed its help, which is the next step.
  if (error instanceof CommanderError && error.code === 'commander.help') return exitCode('usage')
  const { exit, message, next } = toFailure(error)
  terminal.fault(message, next)
  return exitCode(exit)
}
