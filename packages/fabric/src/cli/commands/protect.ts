import { connect } from 'node:net'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { DATA_FILES, findDataFolder, findRunning } from '../data-folder.ts'
import { exampleCall } from '../example-call.ts'
import { type FabricClient, withFabric } from '../fabric-client.ts'
import { Failure } from '../failure.ts'
import { parseAgentUrl, parseAssignableName, parsePort, timeOption } from '../option-values.ts'
import { legible } from '../output/display-width.ts'
import type { Output } from '../output/output.ts'
import { formatTime } from '../output/quantities.ts'
import { configOf, type StartOptions } from '../running-fabric.ts'
import { runFabric } from './up.ts'

const PROTOCOLS = ['auto', 'a2a', 'mcp', 'http'] as const
export type Protocol = (typeof PROTOCOLS)[number]

interface ProtectOptions extends ClientOptions, StartOptions {
  readonly as: string
  readonly protocol: Protocol
  readonly caller?: string
  readonly ttl: number
  readonly up?: boolean
}

export function addProtectCommand(program: Command, context: CliContext): void {
  addClientOptions(
    program
      .command('protect')
      .argument('<url>', 'where the agent or tool listens', parseAgentUrl)
      .description('put the gateway in front of an agent, with a key for one caller')
      .requiredOption('--as <name>', 'what it is called from now on', parseAssignableName)
      .addOption(
        new Option('--protocol <name>', 'what it speaks').choices(PROTOCOLS).default('auto'),
      )
      .option('--caller <name>', 'who may call it; <name>-caller without it', parseAssignableName)
      .addOption(timeOption('--ttl <time>', 'how long the key is good', '90d'))
      .option('--up', 'start a fabric in the foreground when none is running')
      .option('--port <number>', 'with --up: listen there', parsePort),
  ).action((url: string, options: ProtectOptions) => runProtect(context, url, options))
}

async function runProtect(
  context: CliContext,
  url: string,
  options: ProtectOptions,
): Promise<void> {
  const output = outputOf(context, options)
  const order = orderOf(url, options)
  if (options.up === true && (await isDown(context, options))) {
    const config = configOf(context, options)
    await runFabric(context, { config, output }, async ({ operator }) => {
      await protect(operator, order, output)
      output.note('\nStop with Ctrl-C.')
      return true
    })
    return
  }
  await withFabric(context, options, (fabric) => protect(fabric, order, output))
}

async function isDown(context: CliContext, options: ProtectOptions): Promise<boolean> {
  if (options.identity !== undefined) return false
  return (await findRunning(findDataFolder(options, context.environment))) === null
}

interface ProtectOrder {
  readonly url: string
  readonly name: string
  readonly caller: string
  readonly protocol: Protocol
  readonly ttlSeconds: number
  /** Of the policy file. */
  readonly file: string
}

/** Names of policy files are bounded, and `protect-` takes its share. */
const nameLengthMax = 55

function orderOf(url: string, options: ProtectOptions): ProtectOrder {
  const { protocol, ttl: ttlSeconds } = options
  const name = options.as
  const caller = options.caller ?? `${name}-caller`
  if (name.length > nameLengthMax || caller.length > 63) {
    throw new Failure('usage', `${name} is too long`, `use ${nameLengthMax} characters at most`)
  }
  return { url, name, caller, protocol, ttlSeconds, file: `protect-${name}.cedar` }
}

async function protect(fabric: FabricClient, order: ProtectOrder, output: Output): Promise<void> {
  const { url, name, caller, protocol, ttlSeconds, file } = order
  const progress = output.progress(`Protecting ${name}`)
  const made = await carryOut().finally(() => progress.stop())
  const address = `${fabric.origin}/agents/${name}/`
  const rootFile = fabric.dataDir === null ? 'ca.pem' : join(fabric.dataDir, DATA_FILES.root)
  const example = exampleCall({ address, key: made.key, rootFile, protocol })
  const result = { name, caller, url: address, upstream: url, policy: file, ...made, example }
  // It ends with a command to copy.
  output.show(result, () => ({ whole: formatProtected(result, output) }))
  if (!(await answers(url))) {
    output.note(`\nNothing listens at ${url} yet; start it before you call.`)
  }

  async function carryOut(): Promise<{ readonly key: string; readonly expiresAt: number }> {
    await fabric.admin('route.put', { name, upstream: url, protocol })
    // The key before the permission: a failure between the two leaves a key that opens nothing.
    const key = await fabric.admin('key.create', {
      agent: caller,
      scopes: [name],
      ttlSeconds,
    })
    const put = { name: file, text: policyText(order) }
    const { taken, problems } = await fabric.admin('policy.put', put)
    if (!taken) {
      const next =
        'correct the policies in the data folder; `countersign policy check` lists what is wrong'
      throw new Failure('no', `the policy was not taken: ${legible(problems.join('; '))}`, next)
    }
    return { key: key.key, expiresAt: key.expiresAt }
  }
}

function policyText({ name, caller }: ProtectOrder): string {
  return `// Written by \`countersign protect\`. Delete this file to take the permission back.

@id("protect-${name}")
@description("${caller} calls ${name}; this policy permits no other caller.")
permit(
  principal == Agent::"${caller}",
  action == Action::"call",
  resource == Agent::"${name}"
);
`
}

interface Protected {
  readonly name: string
  readonly caller: string
  readonly url: string
  readonly policy: string
  readonly key: string
  readonly expiresAt: number
  readonly example: string
}

function formatProtected(done: Protected, { terminal }: Output): string {
  const { paint, facts } = terminal
  return [
    `${paint('green', 'protected')} ${done.name}; only ${done.caller} may call it\n`,
    facts([
      ['url', { text: done.url, style: 'cyan' }],
      ['key', { text: done.key, style: 'bold' }],
      ['', 'shown this once; good until ' + formatTime(done.expiresAt)],
      ['policy', done.policy],
    ]),
    `\nTry it:\n  ${done.example.replaceAll('\n', '\n  ')}`,
    '\nThe header Countersign-Exchange of the response names the exchange, for `explain` and `receipt`.',
    'For clients in TypeScript and Python see docs/clients.md.',
    'Each run creates one more key, and earlier ones stay good: see `key list` and `key revoke`.',
    'Nothing is masked or blocked yet: that is up to policies, see @mask and @block in docs/policy.md.',
  ].join('\n')
}

/**
 * Reports whether anything accepts connections there. Nothing is sent: a request might have an
 * effect.
 */
function answers(url: string): Promise<boolean> {
  const { hostname, port, protocol } = new URL(url)
  const portDefault = protocol === 'https:' ? 443 : 80
  return new Promise((resolve) => {
    const socket = connect({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? portDefault : Number(port),
      timeout: 2_000,
    })
    const settle = (answer: boolean) => () => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', settle(true))
    socket.once('timeout', settle(false))
    socket.once('error', settle(false))
  })
}
