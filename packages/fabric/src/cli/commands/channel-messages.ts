import { join, resolve } from 'node:path'
import { quotedUnlessWord, SEALED_BODY_BYTES_MAX } from '@countersign/protocol'
import { type Agent, openAgent, type ReceivedMessage } from '@countersign/sdk'
import { type Command, InvalidArgumentError } from 'commander'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { DATA_FILES, findDataFolder, requireRunning } from '../data-folder.ts'
import { Failure } from '../failure.ts'
import { watchInterruption } from '../interruption.ts'
import { collectNames, parseCount, parseName, parseSeconds } from '../option-values.ts'
import { fitText } from '../output/display-width.ts'
import type { Output } from '../output/output.ts'
import { readStdin } from '../stdin.ts'

interface SendOptions extends ClientOptions {
  readonly label?: readonly string[]
  readonly orderingKey?: string
  readonly idempotencyKey?: string
  readonly type?: string
  readonly ttl?: number
}

interface ReceiveOptions extends ClientOptions {
  readonly group: string
  readonly count: number
  readonly wait: number
  readonly follow?: boolean
}

/** Sending and receiving, which members do; everything else about channels is the operator's. */
export function addMessageCommands(channel: Command, context: CliContext): void {
  addClientOptions(
    channel
      .command('send')
      .argument('<name>', 'the channel', parseName)
      .argument('[text]', 'the message; stdin without it')
      .description('seal a message for the members; as --identity, which has to be one')
      .option('--label <name>', 'visible to policy; may be given again', collectNames)
      .option('--ordering-key <text>', 'messages with the same key arrive in order')
      .option('--idempotency-key <text>', 'the same message is stored once')
      .option('--type <media type>', 'what it is')
      .option('--ttl <time>', 'how long it is kept', parseSeconds),
  ).action((name: string, text: string | undefined, options: SendOptions) =>
    send(context, { name, text }, options),
  )
  addClientOptions(
    channel
      .command('receive')
      .argument('<name>', 'the channel', parseName)
      .description('open and acknowledge messages; ends with 1 when none came')
      .requiredOption('--group <name>', 'receivers of one group share its messages', parseName)
      .option('-n, --count <number>', 'how many at most', parseReceiveCount, 1)
      .option('--wait <time>', 'how long to wait for the first', parseSeconds, 0)
      .option('--follow', 'go on until interrupted'),
  ).action((name: string, options: ReceiveOptions) => receive(context, name, options))
}

/** One lease holds no more. */
const receiveCountMax = 256

function parseReceiveCount(text: string): number {
  const count = parseCount(text)
  if (count <= receiveCountMax) return count
  throw new InvalidArgumentError(`At most ${receiveCountMax} are received at once.`)
}

/** Sealing needs the keys of the member itself, so this never goes by way of the operator. */
async function withMember<T>(
  context: CliContext,
  options: ClientOptions,
  use: (agent: Agent) => Promise<T>,
): Promise<T> {
  const dataDir = findDataFolder(options, context.environment)
  if (options.identity === undefined) await requireRunning(dataDir)
  const dir = resolve(options.identity ?? join(dataDir, DATA_FILES.operator))
  const agent = await openAgent({ dir, clock: context.clock })
  try {
    return await use(agent)
  } finally {
    await agent.close()
  }
}

async function send(
  context: CliContext,
  { name, text }: { readonly name: string; readonly text: string | undefined },
  options: SendOptions,
): Promise<void> {
  const output = outputOf(context, options)
  const body = text ?? (await readStdin(SEALED_BODY_BYTES_MAX))
  if (body === null) throw new Failure('usage', 'stdin is too long for a message', 'send less')
  const { label, orderingKey, idempotencyKey, type, ttl } = options
  await withMember(context, options, async (agent) => {
    const sent = await agent.channel(name).send(body, {
      ...(label === undefined ? {} : { labels: label }),
      ...(orderingKey === undefined ? {} : { orderingKey }),
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
      ...(type === undefined ? {} : { contentType: type }),
      ...(ttl === undefined ? {} : { lifetimeMs: ttl * 1000 }),
    })
    output.show(sent, ({ messageId, offset, state, exchange }) =>
      output.terminal.facts([
        ['message', messageId],
        ['state', { text: state, style: state === 'stored' ? 'green' : 'yellow' }],
        ['offset', offset],
        ['exchange', exchange ?? '-'],
      ]),
    )
  })
}

/** The fabric answers a waiting lease within this, and is then asked again. */
const pollSeconds = 20

async function receive(context: CliContext, name: string, options: ReceiveOptions): Promise<void> {
  const output = outputOf(context, options)
  const interruption = watchInterruption()
  const { group, count: countMax, follow = false } = options
  const until = context.clock.monotonic() + options.wait * 1000
  let received = 0
  const isDone = (): boolean =>
    interruption.signal.aborted || (!follow && (received > 0 || context.clock.monotonic() >= until))
  try {
    await withMember(context, options, async (agent) => {
      const channel = agent.channel(name)
      if (follow) output.note('Receiving; stop with Ctrl-C.')
      do {
        const leftMs = follow ? pollSeconds * 1000 : until - context.clock.monotonic()
        const waitMs = Math.min(Math.max(0, leftMs), pollSeconds * 1000)
        const messages = await untilInterrupted(
          channel.receive({ group, countMax, waitMs }),
          interruption.signal,
        )
        for (const message of messages) {
          showMessage(message, output)
          // Printed first: what is acknowledged and then lost with the process is lost for good.
          await message.ack()
        }
        received += messages.length
      } while (!isDone())
    })
  } finally {
    interruption.stop()
  }
  if (received > 0 || follow) return
  output.note('No message came.')
  context.end('no')
}

/** Messages leased for a command that is being interrupted come again when their lease ends. */
function untilInterrupted<T>(
  messages: Promise<readonly T[]>,
  signal: AbortSignal,
): Promise<readonly T[]> {
  const interrupted = new Promise<readonly T[]>((resolve) => {
    signal.addEventListener('abort', () => resolve([]), { once: true })
  })
  return Promise.race([messages, interrupted])
}

function showMessage(
  { sender, header, offset, attempt, body }: ReceivedMessage,
  output: Output,
): void {
  const { messageId, contentType, labels } = header
  const text = Buffer.from(body).toString('utf8')
  const isText = Buffer.from(text, 'utf8').equals(body)
  const content = isText ? { text } : { base64: Buffer.from(body).toString('base64') }
  const told = { messageId, sender, offset, attempt, contentType, labels, ...content }
  output.line(told, () => {
    const { paint, indented, width } = output.terminal
    const tries = attempt === 1 ? '' : `, attempt ${attempt}`
    const size = isText ? '' : `, ${body.length} bytes`
    const about = [sender, contentType].map(quotedUnlessWord).join(`${tries}, `)
    // A head that the terminal broke would go on as a line of its own.
    const head = paint('dim', fitText(`${offset} from ${about}${size}`, width()))
    return isText ? `${head}\n${indented(text)}` : head
  })
}
