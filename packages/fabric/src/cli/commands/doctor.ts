import type { Command } from 'commander'
import { addCommonOptions, type CliContext, type CommonOptions, outputOf } from '../context.ts'
import { examine, type Finding } from '../health-checks.ts'
import { legible } from '../output/display-width.ts'
import type { Terminal } from '../output/terminal.ts'
import { configOf } from '../running-fabric.ts'

export function addDoctorCommand(program: Command, context: CliContext): void {
  addCommonOptions(
    program.command('doctor').description('look for what would keep a fabric from working'),
  ).action(async (options: CommonOptions) => {
    const output = outputOf(context, options)
    const progress = output.progress('Looking')
    const patient = { config: configOf(context, options), clock: context.clock }
    const findings = await examine(patient).finally(() => progress.stop())
    if (findings.some(({ state }) => state === 'fail')) context.end('no')
    output.show(findings, () => formatFindings(findings, output.terminal))
  })
}

const styles = { ok: 'green', warn: 'yellow', fail: 'red' } as const

function formatFindings(findings: readonly Finding[], { paint }: Terminal): string {
  const width = Math.max(...findings.map(({ name }) => name.length))
  return findings
    .flatMap(({ name, state, says, next }) => [
      `${paint(styles[state], state.padEnd(4))}  ${name.padEnd(width)}  ${legible(says)}`,
      ...(next === ''
        ? []
        : [`${' '.repeat(width + 8)}${paint('cyan', 'next:')} ${legible(next)}`]),
    ])
    .join('\n')
}
