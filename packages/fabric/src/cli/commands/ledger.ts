import type { EntryView } from '@countersign/protocol'
import type { Command } from 'commander'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import {
  columnsOf,
  createEntryCompletion,
  ENTRY_COLUMNS,
  entryRow,
  WATCH_WIDTHS,
} from '../entry-view.ts'
import { type FabricClient, withFabric } from '../fabric-client.ts'
import { watchInterruption } from '../interruption.ts'
import { parseCount } from '../option-values.ts'
import type { Output } from '../output/output.ts'
import { formatCount } from '../output/quantities.ts'
import { formatFittedLine } from '../output/stream-lines.ts'

interface RecentOptions extends ClientOptions {
  readonly count: number
}

export function addLedgerCommands(program: Command, context: CliContext): void {
  const ledger = program.command('ledger').description('what was recorded')
  addClientOptions(
    ledger.command('check').description('recompute the whole ledger from its files'),
  ).action((options: ClientOptions) => checkLedger(context, options))
  addClientOptions(
    ledger
      .command('recent')
      .description('the newest entries, oldest first')
      .option('-n, --count <number>', 'how many, 500 at most', parseCount, 20),
  ).action((options: RecentOptions) => showRecent(context, options))
  addClientOptions(
    ledger.command('watch').description('every decision as it is recorded, until interrupted'),
  ).action((options: ClientOptions) => watchLedger(context, options))
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
  { count, ...options }: RecentOptions,
): Promise<void> {
  const output = outputOf(context, options)
  await withFabric(context, options, async (fabric) => {
    const entries = await recentEntries(fabric, count)
    output.show(entries, () =>
      output.terminal.table({
        columns: columnsOf(entries),
        rows: entries.map(createEntryCompletion()).map(entryRow),
      }),
    )
  })
}

async function recentEntries(fabric: FabricClient, count: number): Promise<readonly EntryView[]> {
  const order = { countMax: Math.min(count, 500) }
  return (await fabric.admin('ledger.recent', order)).toReversed()
}

async function watchLedger(context: CliContext, options: ClientOptions): Promise<void> {
  const output = outputOf(context, options)
  const interruption = watchInterruption()
  try {
    await withFabric(context, options, async (fabric) => {
      const complete = createEntryCompletion()
      output.note('Watching; stop with Ctrl-C.')
      for await (const entry of fabric.watch(interruption.signal)) {
        output.line(entry, (each) => formatWatched(complete(each), output))
      }
    })
  } finally {
    interruption.stop()
  }
}

function formatWatched(entry: EntryView, { terminal }: Output): string {
  const { width, paint } = terminal
  const layout = { columns: ENTRY_COLUMNS, widths: WATCH_WIDTHS, width: width(), paint }
  return formatFittedLine(entryRow(entry), layout)
}
