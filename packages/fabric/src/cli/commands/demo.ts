import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { type Config, parseConfig } from '../../config/config.ts'
import { addCommonOptions, type CliContext, outputOf } from '../context.ts'
import { parsePort } from '../option-values.ts'
import { configOf, type StartOptions } from '../running-fabric.ts'
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
    const folder =
      options.data === undefined ? await mkdtemp(join(tmpdir(), 'countersign-demo-')) : null
    const config =
      folder === null
        ? configOf(context, { ...options, port: options.port ?? 0 })
        : throwawayConfig(context, folder, options.port ?? 0)
    try {
      await runFabric(context, { config, output }, async (fabric) => {
        if (!(await tellStory(fabric, output, false))) context.end('no')
        return false
      })
    } finally {
      // A folder that the user named is left for the user to look into.
      if (folder !== null) await rm(folder, { recursive: true, force: true })
    }
  })
}

/** Everything in one folder, the master key beside the data, so that nothing stays behind. */
function throwawayConfig({ environment }: CliContext, folder: string, port: number): Config {
  const masterKey = { from: 'key-file', path: join(folder, 'master.key') }
  // YAML holds JSON.
  const file = { path: 'the demo', text: JSON.stringify({ masterKey }) }
  return parseConfig(file, environment, { dataDir: join(folder, 'data'), port })
}
