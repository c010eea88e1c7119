import { connect } from 'node:net'
import { join } from 'node:path'
import type { AdminResult, RouteSettings, RouteView } from '@countersign/protocol'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { DATA_FILES, findDataFolder, findRunning } from '../data-folder.ts'
import { exampleCall } from '../example-call.ts'
import { type FabricClient, withFabric } from '../fabric-client.ts'
import { Failure } from '../failure.ts'
import {
  parseAgentUrl,
  parseAssignableName,
  parsePort,
  parseSeconds,
  timeOption,
} from '../option-values.ts'
import { legible } from '../output/display-width.ts'
import type { Output } from '../output/output.ts'
import { formatTime } from '../output/quantities.ts'
import { configOf, type StartOptions } from '../running-fabric.ts'
import { runFabric } from './up.ts'

const PROTOCOLS = ['auto', 'a2a', 'mcp', 'http'] as const
export type Protocol = (typeof PROTOCOLS)[number]

interface ProtectOptions extends ClientOptions, StartOptions {
  readonly as: string
  readonly protocol?: Protocol
  readonly replace?: boolean
  readonly caller?: string
  readonly ttl: number
  readonly timeout?: number
  readonly resend?: boolean
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
        new Option('--protocol <name>', 'what it speaks; auto without it').choices(PROTOCOLS),
      )
      .option('--replace', 'point a name that has a route already to this url')
      .option('--timeout <time>', 'how long one call may take; 1s to 1h', parseTimeout)
      .option('--resend', 'send idempotent calls again after a failure')
      .option('--caller <name>', 'who may call it; <name>-caller without it', parseAssignableName)
      .addOption(
        timeOption('--ttl <time>', 'how long the key is good', {
          byDefault: '90d',
          min: '60s',
          max: '366d',
        }),
      )
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
  /** Null where none is named: that of the route that exists, or `auto`. */
  readonly protocol: Protocol | null
  readonly replace: boolean
  readonly ttlSeconds: number
  /** Undefined where none is named: a route that exists keeps its own. */
  readonly settings: RouteSettings | undefined
}

/** Names of policy files are bounded, and `protect-` takes its share. */
const nameLengthMax = 55

function orderOf(url: string, options: ProtectOptions): ProtectOrder {
  const { protocol = null, replace = false, ttl: ttlSeconds } = options
  const name = options.as
  const caller = options.caller ?? `${name}-caller`
  if (name.length > nameLengthMax || caller.length > 63) {
    throw new Failure('usage', `${name} is too long`, `use ${nameLengthMax} characters at most`)
  }
  return { url, name, caller, protocol, replace, ttlSeconds, settings: settingsOf(options) }
}

function parseTimeout(text: string): number {
  const seconds = parseSeconds(text)
  if (seconds >= 1 && seconds <= 3600) return seconds
  throw new InvalidArgumentError('It is between 1s and 1h.')
}

function settingsOf({ timeout, resend }: ProtectOptions): RouteSettings | undefined {
  if (timeout === undefined && resend === undefined) return undefined
  return {
    ...(timeout === undefined ? {} : { timeouts: { exchangeMs: timeout * 1000 } }),
    ...(resend === undefined ? {} : { retries: { resend } }),
  }
}

async function protect(fabric: FabricClient, order: ProtectOrder, output: Output): Promise<void> {
  const { url, name, caller } = order
  const progress = output.progress(`Protecting ${name}`)
  const made = await carryOut(fabric, order).finally(() => progress.stop())
  const address = `${fabric.origin}/agents/${name}/`
  const rootFile = fabric.dataDir === null ? 'ca.pem' : join(fabric.dataDir, DATA_FILES.root)
  const { protocol, ...rest } = made
  const example = exampleCall({ address, key: made.key, rootFile, protocol })
  const result = { name, caller, url: address, upstream: url, ...rest, example }
  // It ends with a command to copy.
  output.show(result, () => ({ whole: formatProtected(result, output) }))
  if (!(await answers(url))) {
    output.note(`\nNothing listens at ${url} yet; start it before you call.`)
  }
}

/** Nothing is changed before it is known what is there already: no route and no policy is lost. */
async function carryOut(fabric: FabricClient, order: ProtectOrder) {
  const { url, name, caller, ttlSeconds, settings } = order
  const known = (await fabric.admin('agent.list', {})).find((agent) => agent.name === caller)
  if (known?.status === 'revoked') {
    const next = 'name another caller by --caller: a revoked name never comes back'
    throw new Failure('refused', `${caller} is revoked`, next)
  }
  const route = planRoute(await fabric.admin('route.list', {}), order)
  const policy = planPolicy(await fabric.admin('policy.show', {}), order)
  const { protocol } = route
  if (!route.exists) {
    const set = settings === undefined ? {} : { settings }
    await fabric.admin('route.put', { name, upstream: url, protocol, ...set })
  }
  // The key before the permission: a failure between the two leaves a key that opens nothing.
  const key = await fabric.admin('key.create', { agent: caller, scopes: [name], ttlSeconds })
  if (policy.text !== null) {
    const put = { name: policy.file, text: policy.text }
    const { taken, problems } = await fabric.admin('policy.put', put)
    if (!taken) {
      const next =
        'correct the policies in the data folder; `countersign policy check` lists what is wrong'
      throw new Failure('no', `the policy was not taken: ${legible(problems.join('; '))}`, next)
    }
  }
  const { file, kept, edited } = policy
  const policies = { policy: file, policyKept: kept, policiesOfOthers: edited }
  return { ...policies, key: key.key, expiresAt: key.expiresAt, protocol }
}

interface RoutePlan {
  readonly exists: boolean
  readonly protocol: Protocol
}

function planRoute(routes: readonly RouteView[], order: ProtectOrder): RoutePlan {
  const { url, name, replace } = order
  const there = routes.filter((route) => route.name === name)
  const same = there.find(
    ({ source, urls, protocol }) =>
      source === 'configured' &&
      urls.length === 1 &&
      urls.every((each) => new URL(each).href === new URL(url).href) &&
      protocol === (order.protocol ?? protocol),
  )
  if (same !== undefined && there.length === 1) {
    return { exists: order.settings === undefined, protocol: same.protocol }
  }
  const [first] = there
  if (first === undefined || replace) {
    return { exists: false, protocol: order.protocol ?? first?.protocol ?? 'auto' }
  }
  const leads = `${first.urls.map(legible).join(', ')} (${first.protocol})`
  const next = 'take another name by --as, or add --replace to point this one elsewhere'
  throw new Failure('no', `${name} is the name of ${leads} already`, next)
}

interface PolicyPlan {
  readonly file: string
  /** Null where the file stays as it is. */
  readonly text: string | null
  /** The file is there and names the caller, and is not as it was written. */
  readonly kept: boolean
  /** Files of `protect` for this agent that do not name the caller. */
  readonly edited: readonly string[]
}

/**
 * A file that exists is never written again: it may have been edited, and it may be another
 * caller's. The first caller has the file of the agent; each further one has a file of its own.
 */
function planPolicy({ sources }: AdminResult<'policy.show'>, order: ProtectOrder): PolicyPlan {
  const { name, caller } = order
  const others: string[] = []
  for (const stem of [`protect-${name}`, `protect-${name}-${caller}`]) {
    const file = `${stem}.cedar`
    const text = policyText(stem, order)
    const there = sources.find((source) => source.name === file)
    if (there === undefined) {
      if (stem.length > stemLengthMax) break
      return { file, text, kept: false, edited: others }
    }
    if (names(there.text, caller) && names(there.text, name)) {
      return { file, text: null, kept: there.text !== text, edited: [] }
    }
    others.push(file)
  }
  const next = `permit ${caller} to call ${name} in one of them, or take a shorter name by --caller`
  throw new Failure('no', `${others.join(' and ')} cannot be written anew`, next)
}

/** The bound of a policy file’s name, without its ending. */
const stemLengthMax = 63

function names(text: string, agent: string): boolean {
  return text.includes(`Agent::"${agent}"`)
}

function policyText(stem: string, { name, caller }: ProtectOrder): string {
  return `// Written by \`countersign protect\`. Delete this file to take the permission back.

@id("${stem}")
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
  readonly policyKept: boolean
  readonly policiesOfOthers: readonly string[]
  readonly key: string
  readonly expiresAt: number
  readonly example: string
}

function formatProtected(done: Protected, { terminal }: Output): string {
  const { paint, facts } = terminal
  return [
    `${paint('green', 'protected')} ${done.name}\n`,
    facts([
      ['url', { text: done.url, style: 'cyan' }],
      ['key', { text: done.key, style: 'bold' }],
      ['', 'shown this once; good until ' + formatTime(done.expiresAt)],
      ['policy', done.policy],
      ['', whatItDoes(done)],
    ]),
    `\nTry it:\n  ${done.example.replaceAll('\n', '\n  ')}`,
    '\nThe header Countersign-Exchange of the response names the exchange, for',
    '`explain` and `receipt`.',
    'For clients in TypeScript and Python see docs/clients.md.',
    'Each run creates one more key, and earlier ones stay good: see `key list` and',
    '`key revoke`.',
    ...remarksOn(done),
  ].join('\n')
}

function whatItDoes({ name, caller, policyKept }: Protected): string {
  if (policyKept) return `it was edited, and is kept as it is`
  return `it permits ${caller} to call ${name}, and no other caller`
}

function remarksOn({ caller, policy, policyKept, policiesOfOthers }: Protected): readonly string[] {
  if (policyKept) return [`What ${caller} may do is up to ${policy} and the other policies.`]
  return [
    `Other policies may permit others as well: see \`policy show\`.`,
    ...policiesOfOthers.map(
      (file) =>
        `What ${file} masks or blocks holds for the callers that it names, not for ${caller}.`,
    ),
    `${policy} masks and blocks nothing by itself:`,
    'see @mask and @block in docs/policy.md.',
  ]
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
