import type { ErasureView, SubjectView } from '@countersign/protocol'
import type { Command } from 'commander'
import { confirm } from '../confirm.ts'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { withFabric } from '../fabric-client.ts'
import { parsePrincipalName } from '../option-values.ts'
import { formatTime } from '../output/quantities.ts'

interface EraseOptions extends ClientOptions {
  readonly subject: string
  readonly reason?: string
  readonly yes?: boolean
}

export function addEraseCommand(program: Command, context: CliContext): void {
  addClientOptions(
    program
      .command('erase')
      .description('make every entry of the ledger that names a principal unreadable, for good')
      .requiredOption(
        '--subject <principal>',
        'its name, or its canonical form',
        parsePrincipalName,
      )
      .option('--reason <text>', 'for the ledger, where it stays readable: name no person in it')
      .option('--yes', 'do not ask'),
  ).action((options: EraseOptions) => erase(context, options))
}

async function erase(context: CliContext, options: EraseOptions): Promise<void> {
  const output = outputOf(context, options)
  const { subject, reason } = options
  await withFabric(context, options, async (fabric) => {
    const found = await fabric.admin('ledger.subject', { subject })
    output.note(`${formatFound(found)}\n`)
    if (options.yes !== true && !(await confirm(output, `Erase ${found.subject}?`))) {
      output.note('Nothing was erased. Run it again with --yes to erase without a question.')
      context.end('no')
      return
    }
    const order = reason === undefined ? { subject } : { subject, reason }
    const erased = await fabric.admin('ledger.erase', order)
    output.show(erased, () => formatErased(erased))
    output.note(`\n${nextOf(erased)}`)
  })
}

function formatFound({ subject, slot, entries, slots }: SubjectView): string {
  const others = slots.filter((each) => each !== slot)
  return [
    `${entriesOf(entries)} in the log of slot ${slot} will be unreadable: all`,
    `that name ${subject} as caller, user, receiver, approver or recorder, or`,
    'are about it. Facts about the other parties of the same exchanges go with',
    'them. The entries stay in the log, and every proof and receipt that was',
    'handed out still verifies. This cannot be undone.',
    ...(others.length === 0 ? [] : [`Slots that do the same in their logs: ${others.join(', ')}.`]),
  ].join('\n')
}

function formatErased({ subject, slot, entries, underWay, pending }: ErasureView): string {
  const others = pending.filter((each) => each !== slot)
  const own =
    underWay > 0
      ? `${subject} is not erased in slot ${slot} yet: ${underWay} exchanges under way have to end`
      : `${subject} is erased in slot ${slot}: ${entriesOf(entries)} cannot be read any more`
  return others.length === 0 ? own : `${own}\nslots that have yet to do it: ${others.join(', ')}`
}

function nextOf({ keysBefore, pending }: ErasureView): string {
  const since = keysBefore === null ? 'the erasure is in the ledger' : formatTime(keysBefore)
  return [
    `Destroy every copy of the keys from before ${since}:`,
    'backups of secrets/, or of the database that holds them. An old copy of the',
    'log opens nothing without them.',
    ...(pending.length === 0
      ? []
      : ['A slot that is away erases at its next start, before it serves.']),
  ].join('\n')
}

function entriesOf(count: number): string {
  return count === 1 ? '1 entry' : `${count} entries`
}
