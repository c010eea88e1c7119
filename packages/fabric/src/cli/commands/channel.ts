import type { Command } from 'commander'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { withFabric } from '../fabric-client.ts'
import { Failure } from '../failure.ts'
import { collectNames, parseAssignableName, parseCount, parseName } from '../option-values.ts'
import { formatMebibytes, formatTime } from '../output/quantities.ts'
import { addMessageCommands } from './channel-messages.ts'

interface MemberOptions extends ClientOptions {
  readonly member?: readonly string[]
}

export function addChannelCommands(program: Command, context: CliContext): void {
  const channel = program
    .command('channel')
    .description('durable queues that only their members can read')
  addClientOptions(channel.command('list').description('every channel')).action(
    (options: ClientOptions) => listChannels(context, options),
  )
  addClientOptions(
    withMembers(channel.command('create'), 'make a channel for these members'),
  ).action((name: string, options: MemberOptions) =>
    changeMembers(context, 'channel.create', { name, options }),
  )
  addClientOptions(
    withMembers(channel.command('members'), 'replace the members; those left out lose access'),
  ).action((name: string, options: MemberOptions) =>
    changeMembers(context, 'channel.members', { name, options }),
  )
  addClientOptions(
    channel
      .command('dead')
      .argument('<name>', 'the channel', parseName)
      .description('messages that no consumer could take'),
  ).action((name: string, options: ClientOptions) => listDead(context, name, options))
  addRedriveCommand(channel, context)
  addMessageCommands(channel, context)
}

function withMembers(command: Command, description: string): Command {
  return command
    .argument('<name>', 'the channel', parseAssignableName)
    .description(description)
    .requiredOption('--member <name>', 'a member; given once for each', collectNames)
}

async function listChannels(context: CliContext, options: ClientOptions): Promise<void> {
  const output = outputOf(context, options)
  await withFabric(context, options, async (fabric) => {
    const channels = await fabric.admin('channel.list', {})
    output.show(channels, () =>
      output.terminal.table({
        columns: [
          { title: 'channel' },
          { title: 'epoch', align: 'right' },
          { title: 'messages', align: 'right' },
          { title: 'size', align: 'right' },
          { title: 'dead', align: 'right' },
          { title: 'members' },
        ],
        rows: channels.map(({ name, epoch, messages, bytes, dead, members }) => [
          name,
          epoch,
          messages,
          formatMebibytes(bytes),
          dead > 0 ? { text: String(dead), style: 'red' } : 0,
          members.join(' '),
        ]),
      }),
    )
  })
}

async function changeMembers(
  context: CliContext,
  operation: 'channel.create' | 'channel.members',
  { name, options }: { readonly name: string; readonly options: MemberOptions },
): Promise<void> {
  const { member: members = [], ...rest } = options
  const output = outputOf(context, rest)
  await withFabric(context, rest, async (fabric) => {
    const result = await fabric.admin(operation, { name, members })
    output.show(result, () => `${name} is sealed for ${members.join(', ')}`)
  })
}

async function listDead(context: CliContext, name: string, options: ClientOptions): Promise<void> {
  const output = outputOf(context, options)
  await withFabric(context, options, async (fabric) => {
    const letters = await fabric.admin('channel.dead', { name })
    output.show(letters, () =>
      output.terminal.table({
        columns: [
          { title: 'offset', align: 'right' },
          { title: 'group' },
          { title: 'attempts', align: 'right' },
          { title: 'since' },
          { title: 'reason' },
        ],
        rows: letters.map(({ offset, group, attempts, at, reason }) => [
          offset,
          group,
          attempts,
          formatTime(at),
          reason,
        ]),
      }),
    )
  })
}

interface RedriveOptions extends ClientOptions {
  readonly group: string
  readonly offset: number
}

function addRedriveCommand(channel: Command, context: CliContext): void {
  addClientOptions(
    channel
      .command('redrive')
      .argument('<name>', 'the channel', parseName)
      .description('offer a dead letter to its group again')
      .requiredOption('--group <name>', 'the group that gave up on it', parseName)
      .requiredOption('--offset <number>', 'its offset', parseCount),
  ).action(async (name: string, { group, offset, ...options }: RedriveOptions) => {
    const output = outputOf(context, options)
    await withFabric(context, options, async (fabric) => {
      const order = { name, group, offset }
      const result = await fabric.admin('channel.redrive', order)
      if (!result.redriven) {
        const next = `see \`countersign channel dead ${name}\``
        throw new Failure('no', `${group} has no dead letter at ${offset} of ${name}`, next)
      }
      output.show(result, () => `${offset} of ${name} is offered to ${group} again`)
    })
  })
}
