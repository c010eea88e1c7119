import { type ApprovalView, isId, parseSpiffeId, quotedUnlessWord } from '@countersign/protocol'
import { RefusedError } from '@countersign/sdk'
import { type Command, InvalidArgumentError } from 'commander'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { withFabric } from '../fabric-client.ts'
import { Failure, toFailure } from '../failure.ts'
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
        .requiredOption('--reason <text>', 'why; required, and recorded with the decision'),
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
        rows: waitingFirst(approvals).map((each) => [
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
    const approval = await fabric.admin('approval.show', { id }).catch(explained(id))
    // Nothing of what a person decides by is cut.
    output.show(approval, () => output.terminal.paragraphs(linesOf(approval)))
    if (approval.state !== 'pending') return
    // Whole, as they are copied: the longer one takes 80 columns.
    const commands = (['approve', 'deny'] as const).map(commandOf(id))
    output.note({ whole: ['\nnext: decide, by one of', ...commands].join('\n') })
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
    ['policy', { phrase: approval.reason }],
    ['requested', formatTime(approval.requestedAt)],
    ['ends', formatTime(approval.expiresAt)],
    ['exchange', approval.requestedBy],
    ['digest', approval.digest],
    ...(approver === null ? [] : [['approver', approver] as const]),
    ...(decidedAt === null ? [] : [['decided', formatTime(decidedAt)] as const]),
    ...(approval.note === '' ? [] : [['reason', { phrase: approval.note }] as const]),
    ...(consumedBy === null ? [] : [['used by', consumedBy] as const]),
  ]
}

/** The states in which a request is once a decision of that kind was made on it. */
const results: Readonly<Record<'approve' | 'deny', readonly ApprovalView['state'][]>> = {
  approve: ['approved', 'consumed'],
  deny: ['denied'],
}

const commandOf =
  (id: string) =>
  (verdict: 'approve' | 'deny'): string =>
    `countersign approval ${verdict} ${id} --reason <why>`

/** Those that a person has to look at come before those that were decided. */
function waitingFirst(approvals: readonly ApprovalView[]): readonly ApprovalView[] {
  const isWaiting = ({ state }: ApprovalView) => state === 'pending'
  return [...approvals.filter(isWaiting), ...approvals.filter((each) => !isWaiting(each))]
}

/** Gives refusals the words of approvals: their codes are those of every operation. */
const explained =
  (id: string) =>
  (error: unknown): Promise<never> => {
    if (!(error instanceof RefusedError)) return Promise.reject(error)
    const { exit, message, next } = toFailure(error)
    if (error.code === 'RECEIVER_UNKNOWN') {
      const what = `no approval ${id} waits or was decided lately`
      return Promise.reject(new Failure(exit, what, 'see `countersign approval list`'))
    }
    const other =
      'let another person decide: neither who asked may, nor the user it acts for, ' +
      'nor whom policy does not permit to'
    const isOwn = error.code === 'NOT_PERMITTED'
    return Promise.reject(new Failure(exit, message, isOwn ? other : next))
  }

async function decide(
  context: CliContext,
  { verdict, id }: { readonly verdict: 'approve' | 'deny'; readonly id: string },
  { reason, ...options }: DecideOptions,
): Promise<void> {
  const output = outputOf(context, options)
  await withFabric(context, options, async (fabric) => {
    const decided = await fabric.admin(`approval.${verdict}`, { id, reason }).catch(explained(id))
    const { approval, taken } = decided
    output.show(decided, () => {
      if (!taken) return `nothing changed: ${id} is ${approval.state} already`
      return verdict === 'approve' ? `${id} is approved` : `${id} is denied`
    })
    // A script must not take the other decision for its own.
    if (!taken && !results[verdict].includes(approval.state)) context.end('no')
    if (!taken || verdict === 'deny') return
    const until = formatTime(approval.expiresAt)
    output.note(`\n${nameOf(approval.caller)} has to repeat the call until ${until}.`)
  })
}
