import type { Command } from 'commander'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { withFabric } from '../fabric-client.ts'

/** A working day; the page asks for another link after that. */
const keyTtlSeconds = 8 * 3600

export function addConsoleCommand(program: Command, context: CliContext): void {
  addClientOptions(
    program
      .command('console')
      .description('a link to the console in a browser, with a key that is good for eight hours'),
  ).action(async (options: ClientOptions) => {
    const output = outputOf(context, options)
    await withFabric(context, options, async (fabric) => {
      const order = { agent: fabric.identity.name, ttlSeconds: keyTtlSeconds }
      const { key } = await fabric.admin('key.create', order)
      // In the fragment, which a browser never sends to any server.
      const url = `${fabric.origin}/console#key=${key}`
      output.show({ url }, () => ({ whole: url }))
    })
  })
}
