import { type ApprovalView, isId, parseSpiffeId, quotedUnlessWord } from '@countersign/protocol'
import { type Command, InvalidArgumentError } from 'commander'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { withFabric } from '../fabric-client.ts'
import { formatTime } from '../output/quantities.ts'
import type { Cell } from '../output/table.ts'

interface DecideOptions extends ClientOptions {
  readonly reason: string
}

export function addApprovalCommands(program: Command, context: CliContext): void {
  const approval = program
    .command('approval')
    .description('actions that wait for a person, as policy requires')
  addClientOptions(
    approval.command('list').description('what waits, and what was decided lately'),
  ).action((options: ClientOptions) => listApprovals(context, options))
  addClientOptions(
    approval
      .command('show')
      .argument('<id>', 'the approval', parseApproval)
      .description('who asks whom for what, without the values'),
  ).action((id: string, options: ClientOptions) => showApproval(context, id, options))
  for (const verdict of ['approve', 'deny'] as const) {
    addClientOptions(
      approval
        .command(verdict)
        .argument('<id>', 'the approval', parseApproval)
        .description(descriptions[verdict])
        .requiredOption('--reason <text>', 'why; recorded with the decision'),
    ).action((id: string, options: DecideOptions) => decide(context, { verdict, id }, options))
  }
}

const descriptions = {
  approve: 'let exactly this action happen once, when its caller repeats it',
  deny: 'refuse this action until its request ends',
} as const

function parseApproval(text: string): string {
  if (isId('apr', text)) return text
  throw new InvalidArgumentError('An approval is named by `approval list`: apr_ and 32 digits.')
}

const styles = { pending: 'yellow', approved: 'green', denied: 'red', consumed: 'dim' } as const

const stateOf = ({ state }: ApprovalView): Cell => ({ text: state, style: styles[state] })

const nameOf = (spiffeId: string): string => parseSpiffeId(spiffeId)?.name ?? spiffeId

async function listApprovals(context: CliContext, options: ClientOptions): Promise<void> {
  const output = outputOf(context, options)
  await withFabric(context, options, async (fabric) => {
    const approvals = await fabric.admin('approval.list', {})
    output.show(approvals, () =>
      output.terminal.table({
        columns: [
          { title: 'approval', whole: true },
          { title: 'state' },
          { title: 'caller' },
          { title: 'receiver' },
          { title: 'asked' },
        ],
        rows: approvals.map((each) => [
          each.id,
          stateOf(each),
          nameOf(each.caller),
          nameOf(each.receiver),
          each.tool === '' ? each.operation : each.tool,
        ]),
      }),
    )
    if (approvals.some(({ state }) => state === 'pending')) {
      output.note('\nnext: countersign approval show <id>')
    }
  })
}

async function showApproval(
  context: CliContext,
  id: string,
  options: ClientOptions,
): Promise<void> {
  const output = outputOf(context, options)
  await withFabric(context, options, async (fabric) => {
    const approval = await fabric.admin('approval.show', { id })
    output.show(approval, () => output.terminal.facts(linesOf(approval)))
    if (approval.state !== 'pending') return
    output.note(`\nnext: countersign approval approve ${id} --reason <text>`)
    output.note(`  or: countersign approval deny ${id} --reason <text>`)
  })
}

function linesOf(approval: ApprovalView): readonly (readonly [name: string, value: Cell])[] {
  const { protocol, operation, tool, user, approver, decidedAt, consumedBy } = approval
  const asked = [protocol, operation, tool].filter(Boolean).map(quotedUnlessWord)
  return [
    ['approval', approval.id],
    ['state', stateOf(approval)],
    ['caller', approval.caller],
    ...(user === null ? [] : [['on behalf of', user] as const]),
    ['receiver', approval.receiver],
    ['asked', { phrase: asked.join(' ') }],
    ['parameters', { phrase: approval.parameters.map(quotedUnlessWord).join(' ') }],
    ['policy', approval.reason],
    ['requested', formatTime(approval.requestedAt)],
    ['ends', formatTime(approval.expiresAt)],
    ['exchange', approval.requestedBy],
    ['digest', approval.digest],
    ...(approver === null ? [] : [['approver', approver] as const]),
    ...(decidedAt === null ? [] : [['decided', formatTime(decidedAt)] as const]),
    ...(approval.note === '' ? [] : [['reason', approval.note] as const]),
    ...(consumedBy === null ? [] : [['used by', consumedBy] as const]),
  ]
}

async function decide(
  context: CliContext,
  { verdict, id }: { readonly verdict: 'approve' | 'deny'; readonly id: string },
  { reason, ...options }: DecideOptions,
): Promise<void> {
  const output = outputOf(context, options)
  await withFabric(context, options, async (fabric) => {
    const decided = await fabric.admin(`approval.${verdict}`, { id, reason })
    const { approval, taken } = decided
    output.show(decided, () => {
      if (!taken) return `nothing changed: ${id} is ${approval.state} already`
      return verdict === 'approve' ? `${id} is approved` : `${id} is denied`
    })
    if (!taken || verdict === 'deny') return
    const until = formatTime(approval.expiresAt)
    output.note(`\n${nameOf(approval.caller)} has to repeat the call until ${until}.`)
  })
}
