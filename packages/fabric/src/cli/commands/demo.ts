import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { addCommonOptions, type CliContext, outputOf } from '../context.ts'
import { parsePort } from '../option-values.ts'
import type { StartOptions } from '../running-fabric.ts'
import { tellStory } from '../story-teller.ts'
import { runFabric } from './up.ts'

export function addDemoCommand(program: Command, context: CliContext): void {
  addCommonOptions(
    program
      .command('demo')
      .description('tell the demo story on a fabric of its own; ends with 0 only if all of it held')
      .option('--port <number>', 'listen there instead of on a free port', parsePort),
  ).action(async (options: StartOptions) => {
    const output = outputOf(context, options)
    const data = options.data ?? (await mkdtemp(join(tmpdir(), 'countersign-demo-')))
    try {
      const order = { options: { ...options, data, port: options.port ?? 0 }, output }
      await runFabric(context, order, async (fabric) => {
        if (!(await tellStory(fabric, output))) context.end('no')
        return false
      })
    } finally {
      // A folder that somebody named is theirs to look into.
      if (options.data === undefined) await rm(data, { recursive: true, force: true })
    }
  })
}
