import type { AgentView } from '@countersign/protocol'
import { type Command, Option } from 'commander'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { withFabric } from '../fabric-client.ts'
import {
  type AttributeValue,
  collectAttributes,
  collectNames,
  parseAssignableName,
  parseName,
  parsePrincipalName,
  timeOption,
} from '../option-values.ts'
import type { Style } from '../output/paint.ts'
import { formatTime } from '../output/quantities.ts'
import type { Cell } from '../output/table.ts'
import type { Terminal } from '../output/terminal.ts'

interface EnrollOptions extends ClientOptions {
  readonly kind: AgentView['kind']
  readonly role?: readonly string[]
  readonly segment?: string
  readonly attribute?: Readonly<Record<string, AttributeValue>>
  readonly ttl: number
}

interface StatusOptions extends ClientOptions {
  readonly reason: string
}

export function addAgentCommands(program: Command, context: CliContext): void {
  const agent = program.command('agent').description('who is known, and what they may still do')
  addClientOptions(agent.command('list').description('every agent and user')).action(
    (options: ClientOptions) => listAgents(context, options),
  )
  addClientOptions(
    agent
      .command('show')
      .argument('<name>', 'its name', parsePrincipalName)
      .description('one of them'),
  ).action((name: string, options: ClientOptions) => showAgent(context, name, options))
  addClientOptions(
    agent
      .command('enroll')
      .alias('invite')
      .argument('<name>', 'what it will be called', parseAssignableName)
      .description('make a one-time join string; it is the only thing on stdout')
      .addOption(
        new Option('--kind <kind>', 'agent or user').choices(['agent', 'user']).default('agent'),
      )
      .option('--role <name>', 'a role; may be given again', collectNames)
      .option('--segment <name>', 'the segment it stands in', parseName)
      .option(
        '--attribute <name=value>',
        'a fact for policies; may be given again',
        collectAttributes,
      )
      .addOption(
        timeOption('--ttl <time>', 'how long the join string is good', {
          byDefault: '15m',
          min: '10s',
          max: '15m',
        }),
      ),
  ).action((name: string, options: EnrollOptions) => enrollAgent(context, name, options))
  addStatusCommands(agent, context)
}

const statusCommands = [
  ['quarantine', 'stop everything it does, until restored'],
  ['restore', 'let a quarantined one act again'],
  ['revoke', 'end it for good; a revoked name never comes back'],
] as const

function addStatusCommands(agent: Command, context: CliContext): void {
  for (const [verb, description] of statusCommands) {
    addClientOptions(
      agent
        .command(verb)
        .argument('<name>', 'its name', parsePrincipalName)
        .description(description)
        .option('--reason <text>', 'for the ledger and for `agent show`', 'by the operator'),
    ).action(async (name: string, options: StatusOptions) => {
      const output = outputOf(context, options)
      await withFabric(context, options, async (fabric) => {
        const order = { name, reason: options.reason }
        const changed = await fabric.admin(`agent.${verb}`, order)
        const { paint } = output.terminal
        output.show(changed, ({ status }) => `${name} is ${paint(styleOf(status), status)}`)
      })
    })
  }
}

async function listAgents(context: CliContext, options: ClientOptions): Promise<void> {
  const output = outputOf(context, options)
  await withFabric(context, options, async (fabric) => {
    const agents = await fabric.admin('agent.list', {})
    output.show(agents, () =>
      output.terminal.table({
        columns: [
          { title: 'name' },
          { title: 'kind' },
          { title: 'status' },
          { title: 'enrolled' },
          { title: 'risk', align: 'right' },
          { title: 'segment' },
          { title: 'roles' },
        ],
        rows: agents.map((agent) => [
          agent.name,
          agent.kind,
          { text: agent.status, style: styleOf(agent.status) },
          agent.enrolled ? 'yes' : 'no',
          Math.round(agent.risk),
          agent.segment,
          agent.roles.join(' '),
        ]),
      }),
    )
  })
}

async function showAgent(context: CliContext, name: string, options: ClientOptions): Promise<void> {
  const output = outputOf(context, options)
  await withFabric(context, options, async (fabric) => {
    const agent = await fabric.admin('agent.show', { name })
    output.show(agent, () => formatAgent(agent, output.terminal))
  })
}

function formatAgent(agent: AgentView, terminal: Terminal): string {
  const attributes = Object.entries(agent.attributes).map(([name, value]) => `${name}=${value}`)
  const facts: readonly (readonly [string, Cell])[] = [
    ['name', agent.name],
    ['kind', agent.kind],
    ['status', { text: agent.status, style: styleOf(agent.status) }],
    ...(agent.statusReason === '' ? [] : [['because', agent.statusReason] as const]),
    ['enrolled', agent.enrolled ? 'yes' : 'no'],
    ['since', formatTime(agent.createdAt)],
    ['segment', agent.segment === '' ? '(none)' : agent.segment],
    ['roles', agent.roles.length === 0 ? '(none)' : agent.roles.join(' ')],
    ['attributes', attributes.length === 0 ? '(none)' : attributes.join(' ')],
    ['risk', `${Math.round(agent.risk)} of 100`],
    ...agent.signals.map((signal) => ['signal', JSON.stringify(signal)] as const),
  ]
  return terminal.facts(facts)
}

async function enrollAgent(
  context: CliContext,
  name: string,
  { kind, role = [], segment = '', attribute = {}, ttl, ...options }: EnrollOptions,
): Promise<void> {
  const output = outputOf(context, options)
  await withFabric(context, options, async (fabric) => {
    const order = { name, kind, roles: role, segment, attributes: attribute, ttlSeconds: ttl }
    const invitation = await fabric.admin('agent.enroll', order)
    output.show(invitation, ({ join }) => ({ whole: join }))
    output.note(
      `\n${name} has until ${formatTime(invitation.expiresAt)} to use it, once: ` +
        `\`openAgent({ join, dir })\` in the SDK, or \`countersign connect --as ${name} --join …\`.`,
    )
  })
}

function styleOf(status: AgentView['status']): Style {
  return status === 'active' ? 'green' : status === 'quarantined' ? 'yellow' : 'red'
}
