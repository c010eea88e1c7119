import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { AgentError, type Identity, openIdentity, RefusedError } from '@countersign/sdk'
import { type Command, Option } from 'commander'
import { connectorAgent } from '../connector-agent.ts'
import { addCommonOptions, type CliContext, type CommonOptions, outputOf } from '../context.ts'
import { findDataFolder, findRunning } from '../data-folder.ts'
import { openEnding } from '../ending.ts'
import { withFabric } from '../fabric-client.ts'
import { Failure } from '../failure.ts'
import { untilAborted } from '../interruption.ts'
import { logFormatOption, logOf } from '../logging.ts'
import { openObserving } from '../observing.ts'
import {
  parseAgentUrl,
  parseAssignableName,
  parseHostPort,
  parseHttpsOrigin,
  parseLoopbackPort,
} from '../option-values.ts'
import type { Output } from '../output/output.ts'
import { graceMs, stopMsMax } from '../running-fabric.ts'

interface Address {
  readonly host: string
  readonly port: number
}

interface ConnectOptions extends CommonOptions {
  readonly as: string
  readonly expose?: string
  readonly protocol: 'auto' | 'a2a' | 'mcp' | 'http'
  readonly listen: Address
  readonly meshListen: Address
  readonly advertise?: string
  readonly join?: string
  readonly observe: Address | false
  readonly logFormat: 'text' | 'json'
}

export function addConnectCommand(program: Command, context: CliContext): void {
  addCommonOptions(
    program
      .command('connect')
      .description('run a connector next to one agent: it calls and is called over mutual TLS')
      .requiredOption('--as <name>', 'the agent’s enrolled name', parseAssignableName)
      .option(
        '--expose <url>',
        'where the agent itself listens, on loopback or by https',
        parseAgentUrl,
      )
      .addOption(
        new Option('--protocol <name>', 'what the agent speaks')
          .choices(['auto', 'a2a', 'mcp', 'http'])
          .default('auto'),
      )
      .addOption(
        addressOption(
          '--listen <host:port>',
          'where the agent calls others, on loopback',
        ).argParser(parseLoopbackPort),
      )
      .addOption(addressOption('--mesh-listen <host:port>', 'where others call the agent'))
      .option(
        '--advertise <url>',
        'how others reach --mesh-listen, when by another address',
        parseHttpsOrigin,
      )
      .option('--join <string>', 'from `countersign agent enroll`; needed the first time')
      .addOption(addressOption('--observe <host:port>', 'where probes and metrics are'))
      .option('--no-observe', 'without a listener for probes and metrics')
      .addOption(logFormatOption('text')),
  ).action((options: ConnectOptions) => runConnector(context, options))
}

function addressOption(flags: string, description: string): Option {
  const free: Address = { host: '127.0.0.1', port: 0 }
  return new Option(flags, description).argParser(parseHostPort).default(free, 'a free local port')
}

async function runConnector(context: CliContext, options: ConnectOptions): Promise<void> {
  const output = outputOf(context, options)
  const { clock, random } = context
  const progress = output.progress(`Connecting ${options.as}`)
  const dir = identityFolder(context, options)
  const isFirst = !existsSync(join(dir, 'agent.json'))
  const identity = await openAgentIdentity(context, options).catch((error: unknown) => {
    progress.stop()
    throw error
  })
  const ending = openEnding(context)
  const address = options.observe === false ? null : { ...options.observe, names: [] }
  const log = logOf(context, { level: 'info', format: options.logFormat })
  const observing = await openObserving(context, address, log)
  try {
    const { openConnector } = await import('../../compose/connector.ts')
    const { USED_VALUES_FOLDER } = await import('../../compose/counters.ts')
    const connector = await openConnector({
      agent: connectorAgent(identity, clock),
      gateway: {
        url: identity.url,
        spiffeId: `spiffe://${identity.trustDomain}/fabric/gateway`,
      },
      expose: options.expose ?? null,
      protocol: options.protocol,
      listen: options.listen,
      meshListen: { ...options.meshListen, advertise: options.advertise ?? null },
      usedValues: { dir: join(dir, USED_VALUES_FOLDER), isFirst },
      clock,
      random,
      observe: observing,
      log,
    }).finally(() => progress.stop())
    ending.acceptSignals(graceMs, () => output.note('\nStopping; once more to stop at once.'))
    observing.readiness.enter('serving')
    const { name, spiffeId } = identity
    showConnected({ ...connector, name, spiffeId, observeUrl: observing.url }, output)
    observing.supervisor.ready()
    await untilAborted(ending.signal)
    observing.readiness.enter('stopping')
    observing.supervisor.stopping(stopMsMax)
    const faults = await connector.close(ending.isFatal ? 0 : graceMs)
    if (faults.length > 0) context.end('cut')
  } finally {
    await observing.close()
    identity.close()
    ending.finish()
  }
}

function identityFolder(context: CliContext, options: ConnectOptions): string {
  return join(findDataFolder(options, context.environment), 'agents', options.as)
}

/** The stored identity, or one made with the join string, or with one asked of a fabric here. */
async function openAgentIdentity(context: CliContext, options: ConnectOptions): Promise<Identity> {
  const dataDir = findDataFolder(options, context.environment)
  const dir = identityFolder(context, options)
  const { clock } = context
  // The name goes along, so that a join string for another agent is not spent on a misspelt --as.
  const order = { dir, name: options.as, clock, onFault: () => undefined }
  const identity = await openIdentity({ ...order, join: options.join }).catch(
    async (error: unknown) => {
      const failure = joinFailure(options.as, error)
      if (failure !== null) throw failure
      if (!(error instanceof AgentError && error.code === 'JOIN_MISSING')) throw error
      return openIdentity({ ...order, join: await inviteHere(context, options, dataDir) })
    },
  )
  if (identity.name === options.as) return identity
  identity.close()
  const next = `connect it as ${identity.name}, or ask for a join string for ${options.as}`
  throw new Failure(
    'usage',
    `this identity is that of ${identity.name}, not of ${options.as}`,
    next,
  )
}

/** Returns the failure for a join string that was refused; null for any other error. */
export function joinFailure(name: string, error: unknown): Failure | null {
  if (!(error instanceof RefusedError)) return null
  const { code } = error
  const again = `ask the operator for a new one: \`countersign agent enroll ${name}\``
  if (code === 'CREDENTIAL_SPENT') {
    const stolen = `if it was not used by you, tell the operator: another party enrolled as ${name}`
    return new Failure('refused', `${code}: this join string has been used`, `${again}; ${stolen}`)
  }
  if (code === 'CREDENTIAL_EXPIRED') {
    const clock = 'or compare the clocks of both machines, if it is fresh'
    return new Failure('refused', `${code}: this join string has expired`, `${again}; ${clock}`)
  }
  if (code !== 'CREDENTIAL_REJECTED') return null
  const ended = 'one that is older than the last string, enrolment or quarantine has ended'
  const next = `check --as: a string for another agent is still good for that one; ${ended}: ${again}`
  return new Failure('refused', `${code}: the fabric refused this join string for ${name}`, next)
}

/** On the machine of the fabric its operator is here too, and hands the join string over itself. */
async function inviteHere(
  context: CliContext,
  options: ConnectOptions,
  dataDir: string,
): Promise<string> {
  if ((await findRunning(dataDir)) === null) {
    const next = `ask the operator for \`countersign agent enroll ${options.as}\` and pass it by --join`
    throw new Failure('usage', `${options.as} has no identity in ${dataDir} yet`, next)
  }
  return withFabric(context, options, async (fabric) => {
    const { join: invitation } = await fabric.admin('agent.enroll', { name: options.as })
    return invitation
  })
}

interface Connected {
  readonly name: string
  readonly spiffeId: string
  readonly loopbackUrl: string
  readonly meshUrl: string | null
  readonly observeUrl: string | null
}

function showConnected(connected: Connected, output: Output): void {
  const { name, spiffeId, loopbackUrl, meshUrl, observeUrl } = connected
  const ready = { event: 'ready', name, spiffeId, loopbackUrl, meshUrl, observeUrl }
  output.line(ready, () => {
    const { paint, facts } = output.terminal
    return [
      `${paint('bold', `${name} is connected.`)}\n`,
      facts([
        ['identity', spiffeId],
        ['it calls others at', { text: `${loopbackUrl}/<name>/`, style: 'cyan' }],
        ['others reach it at', meshUrl ?? '(it exposes nothing)'],
        ['probes', observeUrl ?? '(off)'],
      ]),
      '\nStop with Ctrl-C.',
    ].join('\n')
  })
}
