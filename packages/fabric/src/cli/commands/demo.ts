import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { type Config, parseConfig } from '../../config/config.ts'
import { addCommonOptions, type CliContext, outputOf } from '../context.ts'
import { loadDemo, runDemoOn } from '../demo-package.ts'
import { parsePort } from '../option-values.ts'
import { configOf, type StartOptions } from '../running-fabric.ts'
import { runFabric } from './up.ts'

export function addDemoCommand(program: Command, context: CliContext): void {
  addCommonOptions(
    program
      .command('demo')
      .description('run the demo on a fabric of its own; ends with 0 only if every check held')
      .option('--port <number>', 'listen there instead of on a free port', parsePort),
  ).action(async (options: StartOptions) => {
    const output = outputOf(context, options)
    // Before a folder is made: without the demo there is nothing to start a fabric for.
    const demo = await loadDemo()
    const folder =
      options.data === undefined ? await mkdtemp(join(tmpdir(), 'countersign-demo-')) : null
    const config =
      folder === null
        ? configOf(context, { ...options, port: options.port ?? 0 })
        : throwawayConfig(context, folder, options.port ?? 0)
    try {
      await runFabric(context, { config, output }, async (fabric) => {
        const held = await runDemoOn(demo, context, { fabric, output, keepsRunning: false })
        if (!held) context.end('no')
        return false
      })
    } finally {
      // A folder that `--data` names stays for its owner to look into.
      if (folder !== null) await rm(folder, { recursive: true, force: true })
    }
  })
}

/** Everything in one folder, the master key next to the data, so that nothing stays behind. */
function throwawayConfig({ environment }: CliContext, folder: string, port: number): Config {
  const masterKey = { from: 'key-file', path: join(folder, 'master.key') }
  // YAML holds JSON.
  const file = { path: 'the demo', text: JSON.stringify({ masterKey }) }
  return parseConfig(file, environment, { dataDir: join(folder, 'data'), port })
}
