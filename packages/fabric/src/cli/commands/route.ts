import { ROUTE_DEFAULTS, type RouteReliability, type RouteView } from '@countersign/protocol'
import type { Command } from 'commander'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { withFabric } from '../fabric-client.ts'
import { Failure } from '../failure.ts'
import { parseName } from '../option-values.ts'
import type { Terminal } from '../output/terminal.ts'

export function addRouteCommands(program: Command, context: CliContext): void {
  const route = program.command('route').description('where agents are reached')
  addClientOptions(route.command('list').description('every agent that can be reached')).action(
    async (options: ClientOptions) => {
      const output = outputOf(context, options)
      await withFabric(context, options, async (fabric) => {
        const routes = await fabric.admin('route.list', {})
        output.show(routes, () => formatRoutes(routes, output.terminal))
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

/** The table, and below it all settings that differ from the defaults, by the name of the route. */
function formatRoutes(routes: readonly RouteView[], terminal: Terminal): string {
  const table = terminal.table({
    columns: [{ title: 'agent' }, { title: 'protocol' }, { title: 'source' }, { title: 'address' }],
    rows: routes.flatMap(({ name, protocol, source, urls }) =>
      urls.map((url) => [name, protocol, source, url]),
    ),
  })
  const named = new Map(routes.map(({ name, settings }) => [name, differing(settings)]))
  const set = [...named].filter(([, settings]) => settings !== '')
  if (set.length === 0) return table
  return `${table}\n\nsettings other than the defaults\n${terminal.paragraphs(set)}`
}

/** As `routes.<name>` of the configuration file has them: `timeouts.tryMs: 2000`. */
function differing(settings: RouteReliability): string {
  const defaults = new Map(Object.entries(ROUTE_DEFAULTS).flatMap(settingsOf))
  return Object.entries(settings)
    .flatMap(settingsOf)
    .filter(([key, value]) => defaults.get(key) !== value)
    .map(([key, value]) => `${key}: ${value}`)
    .join(', ')
}

function settingsOf([group, settings]: readonly [string, object]): [key: string, value: string][] {
  return Object.entries(settings).map(([key, value]: [string, unknown]) => {
    const shown = Array.isArray(value) ? `[${value.join(', ')}]` : String(value)
    return [`${group}.${key}`, shown]
  })
}
