import type { Command } from 'commander'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { withFabric } from '../fabric-client.ts'
import { Failure } from '../failure.ts'
import { parseName } from '../option-values.ts'

export function addRouteCommands(program: Command, context: CliContext): void {
  const route = program.command('route').description('where agents are reached')
  addClientOptions(route.command('list').description('every agent that can be reached')).action(
    async (options: ClientOptions) => {
      const output = outputOf(context, options)
      await withFabric(context, options, async (fabric) => {
        const routes = await fabric.admin('route.list', {})
        output.show(routes, () =>
          output.terminal.table({
            columns: [
              { title: 'agent' },
              { title: 'protocol' },
              { title: 'source' },
              { title: 'address' },
            ],
            rows: routes.flatMap(({ name, protocol, source, urls }) =>
              urls.map((url) => [name, protocol, source, url]),
            ),
          }),
        )
      })
    },
  )
  addClientOptions(
    route
      .command('delete')
      .argument('<name>', 'the agent', parseName)
      .description('stop forwarding to an agent that `protect` put behind the gateway'),
  ).action(async (name: string, options: ClientOptions) => {
    const output = outputOf(context, options)
    await withFabric(context, options, async (fabric) => {
      const result = await fabric.admin('route.delete', { name })
      if (!result.removed) {
        throw new Failure('no', `there is no route to ${name}`, 'see `countersign route list`')
      }
      output.show(result, () => `${name} is no longer reached`)
    })
  })
}
