import type { AdminArgs } from '@countersign/protocol'
import { Argument, type Command } from 'commander'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { withFabric } from '../fabric-client.ts'
import { collectNames, parseAssignableName, timeOption } from '../option-values.ts'
import { formatTime } from '../output/quantities.ts'

interface CreateOptions extends ClientOptions {
  readonly scope?: readonly string[]
  readonly ttl: number
}

type KeyName = AdminArgs<'key.rotate'>['key']

export function addKeyCommands(program: Command, context: CliContext): void {
  const key = program
    .command('key')
    .description('API keys, for callers that cannot hold certificates')
  addClientOptions(
    key
      .command('create')
      .argument('<agent>', 'whose key it is', parseAssignableName)
      .description('make a key; it is the only thing on stdout, and is shown this once')
      .option(
        '--scope <name>',
        'reach only this agent or channel; may be given again',
        collectNames,
      )
      .addOption(
        timeOption('--ttl <time>', 'how long it is good', {
          byDefault: '90d',
          min: '60s',
          max: '366d',
        }),
      ),
  ).action((agent: string, options: CreateOptions) => createKey(context, agent, options))
  addClientOptions(key.command('list').description('every key, without its secret')).action(
    (options: ClientOptions) => listKeys(context, options),
  )
  addClientOptions(
    key
      .command('revoke')
      .argument('<prefix>', 'the characters that `key list` shows, or the key', prefixOf)
      .description('end a key at once'),
  ).action(async (prefix: string, options: ClientOptions) => {
    const output = outputOf(context, options)
    await withFabric(context, options, async (fabric) => {
      output.show(await fabric.admin('key.revoke', { prefix }), () => `key ${prefix} is revoked`)
    })
  })
  addClientOptions(
    key
      .command('rotate')
      .addArgument(
        new Argument('<key>', 'tokens: the key that signs access tokens').choices(['tokens']),
      )
      .description(
        'give a key of the fabric a new version; the one before verifies for ten minutes',
      ),
  ).action((name: KeyName, options: ClientOptions) => rotateKey(context, name, options))
}

async function rotateKey(context: CliContext, key: KeyName, options: ClientOptions): Promise<void> {
  const output = outputOf(context, options)
  await withFabric(context, options, async (fabric) => {
    const rotated = await fabric.admin('key.rotate', { key })
    const { version, previousUntil } = rotated
    output.show(rotated, () => `${key}: version ${version} signs from now on`)
    output.note(`\nThe version before verifies until ${formatTime(previousUntil)}.`)
  })
}

/** Cuts a whole key to its public characters, so that no secret is sent or recorded. */
function prefixOf(text: string): string {
  return /^csk_([0-9A-Za-z]{8})/.exec(text)?.[1] ?? text
}

async function createKey(
  context: CliContext,
  agent: string,
  { scope, ttl, ...options }: CreateOptions,
): Promise<void> {
  const output = outputOf(context, options)
  await withFabric(context, options, async (fabric) => {
    const order = { agent, scopes: scope ?? null, ttlSeconds: ttl }
    const agents = await fabric.admin('agent.list', {})
    const made = await fabric.admin('key.create', order)
    output.show(made, ({ key }) => ({ whole: key }))
    if (!agents.some(({ name }) => name === agent)) {
      output.note(`\n${agent} is a new agent: there was none of this name.`)
    }
    const reach = scope === undefined ? '' : ` ${scope.join(', ')}, as far as`
    const until = formatTime(made.expiresAt)
    output.note(
      `\nWith this key, ${agent} may call${reach === '' ? ' what' : reach} policies permit, until ${until}.`,
    )
  })
}

async function listKeys(context: CliContext, options: ClientOptions): Promise<void> {
  const output = outputOf(context, options)
  await withFabric(context, options, async (fabric) => {
    const keys = await fabric.admin('key.list', {})
    const now = context.clock.now()
    output.show(keys, () =>
      output.terminal.table({
        columns: [
          { title: 'prefix', whole: true },
          { title: 'agent' },
          { title: 'reaches' },
          { title: 'made' },
          { title: 'until' },
        ],
        rows: keys.map(({ prefix, agent, scopes, createdAt, expiresAt }) => [
          prefix,
          agent,
          scopes === null ? 'what policy permits' : scopes.join(' '),
          formatTime(createdAt),
          { text: formatTime(expiresAt), style: expiresAt <= now ? 'red' : 'green' },
        ]),
      }),
    )
  })
}
