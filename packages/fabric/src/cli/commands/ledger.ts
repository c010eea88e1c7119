import type { EntryView } from '@countersign/protocol'
import type { Command } from 'commander'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { createEntryCompletion, formatEntry } from '../entry-view.ts'
import { collectPages, showExchanges } from '../exchange-pages.ts'
import { withFabric } from '../fabric-client.ts'
import { Failure } from '../failure.ts'
import { watchInterruption } from '../interruption.ts'
import { parseCount } from '../option-values.ts'
import type { Output } from '../output/output.ts'
import { formatCount } from '../output/quantities.ts'
import { explainPruned } from '../pruned-cursor.ts'
import { addCompareCommand } from './ledger-compare.ts'
import { addFindCommand } from './ledger-find.ts'
import { addFollowCommand } from './ledger-follow.ts'
import { addPruneCommand } from './ledger-prune.ts'

interface RecentOptions extends ClientOptions {
  readonly count: number
  readonly before?: string
  readonly after?: string
}

interface WatchOptions extends ClientOptions {
  readonly after?: string
}

export function addLedgerCommands(program: Command, context: CliContext): void {
  const ledger = program.command('ledger').description('what was recorded')
  addClientOptions(
    ledger.command('check').description('recompute the whole ledger from its files'),
  ).action((options: ClientOptions) => checkLedger(context, options))
  addCompareCommand(ledger, context)
  addClientOptions(
    ledger
      .command('recent')
      .description('the newest exchanges, a line for each, oldest first')
      .option('-n, --count <number>', 'how many', parseCount, 20)
      .option('--before <cursor>', 'those before a cursor, as an earlier answer has it')
      .option('--after <cursor>', 'those after it'),
  ).action((options: RecentOptions) => showRecent(context, options))
  addFindCommand(ledger, context)
  addPruneCommand(ledger, context)
  addClientOptions(
    ledger
      .command('watch')
      .description('every decision as it is recorded, until interrupted')
      .option('--after <cursor>', 'begin behind the entry that has this cursor in --json'),
  ).action((options: WatchOptions) => watchLedger(context, options))
  addFollowCommand(ledger, context)
}

async function checkLedger(context: CliContext, options: ClientOptions): Promise<void> {
  const output = outputOf(context, options)
  await withFabric(context, options, async (fabric) => {
    const progress = output.progress('Deriving the ledger from its files')
    const checked = await fabric.admin('ledger.check', {}).finally(() => progress.stop())
    output.show(checked, ({ entries, tiles, root, unclosed }) => {
      const { paint, facts } = output.terminal
      return [
        `${paint('green', 'sound')}: every entry, tile and signature is what it was`,
        facts([
          ['entries', entries],
          ['tiles', tiles],
          ['under way', formatCount(unclosed, 'exchange')],
          ['root', root],
        ]),
      ].join('\n')
    })
  })
}

async function showRecent(
  context: CliContext,
  { count, before, after, ...options }: RecentOptions,
): Promise<void> {
  if (before !== undefined && after !== undefined) {
    throw new Failure('usage', '--before and --after exclude each other', 'give one of them')
  }
  const output = outputOf(context, options)
  const side = after === undefined ? 'before' : 'after'
  await withFabric(context, options, async (fabric) => {
    const page = await collectPages(count, { before, after }, (args) =>
      fabric
        .admin('ledger.recent', args)
        .catch(explainPruned(fabric, (cursor) => `the first that is left: --${side} ${cursor}`)),
    )
    showExchanges(output, page, '--before')
  })
}

async function watchLedger(context: CliContext, options: WatchOptions): Promise<void> {
  const output = outputOf(context, options)
  const interruption = watchInterruption()
  try {
    await withFabric(context, options, async (fabric) => {
      const complete = createEntryCompletion()
      output.note('Watching; stop with Ctrl-C.')
      try {
        for await (const entry of fabric.watch(interruption.signal, options.after)) {
          output.line(entry, (each) => formatWatched(complete(each), output))
        }
      } catch (error) {
        await explainPruned(fabric, (cursor) => `the first that is left: --after ${cursor}`)(error)
      }
    })
  } finally {
    interruption.stop()
  }
}

function formatWatched(entry: EntryView, { terminal }: Output): string {
  return formatEntry(entry, { width: terminal.width(), paint: terminal.paint })
}
