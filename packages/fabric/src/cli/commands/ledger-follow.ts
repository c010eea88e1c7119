import { type FollowedEntry, utf8 } from '@countersign/protocol'
import { RefusedError } from '@countersign/sdk'
import type { Command } from 'commander'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { type EntrySink, exportEntries, FileSink, fileCursor } from '../entry-export.ts'
import { withFabric } from '../fabric-client.ts'
import { toFailure } from '../failure.ts'
import { watchInterruption } from '../interruption.ts'
import { parsePath } from '../option-values.ts'
import type { Output } from '../output/output.ts'
import { formatDuration } from '../output/quantities.ts'
import { explainPruned, firstCursor } from '../pruned-cursor.ts'

interface FollowOptions extends ClientOptions {
  readonly cursor: string
  readonly to?: string
  readonly withPrivate?: boolean
}

export function addFollowCommand(ledger: Command, context: CliContext): void {
  addClientOptions(
    ledger
      .command('follow')
      .description('exports every entry as a line of JSON, at least once, over crashes')
      .requiredOption(
        '--cursor <file>',
        'keeps the place up to which entries are exported',
        parsePath,
      )
      .option('--to <file>', 'appends to a file and syncs it; without it, to stdout', parsePath)
      .option('--with-private', 'with the facts that no receipt shows'),
  ).action((options: FollowOptions) => followLedger(context, options))
}

async function followLedger(context: CliContext, options: FollowOptions): Promise<void> {
  const output = outputOf(context, options)
  const interruption = watchInterruption()
  const { signal } = interruption
  const format = (entry: FollowedEntry) => formatLine(entry, options.withPrivate === true)
  const file = options.to === undefined ? null : new FileSink(options.to, format)
  try {
    await file?.mend()
    await exportEntries({
      connect: (after, use) =>
        withFabric(context, options, async (fabric) =>
          use(fabric.watch(signal, after ?? (await firstCursor(fabric)))).catch(
            explainPruned(fabric, (cursor) => pastGap(options.cursor, cursor)),
          ),
        ),
      sink: file ?? terminalSink(output, format),
      cursor: fileCursor(options.cursor),
      ...{ signal, isPassing },
      onWait(error, waitMs) {
        const { message } = toFailure(error)
        output.note(`${message}; trying again in ${formatDuration(waitMs)}`)
      },
    })
  } finally {
    interruption.stop()
  }
}

function pastGap(file: string, cursor: string): string {
  return `entries are missing in this export; to go on without them, write ${cursor} to ${file}`
}

/** A pipe takes the bytes before `write` returns; nothing is known of what its reader does. */
function terminalSink({ terminal }: Output, format: (entry: FollowedEntry) => string): EntrySink {
  return {
    async write(entries) {
      terminal.write(utf8(entries.map(format).join('')))
    },
  }
}

/** A fabric that is away, restarts, or is at a limit; not one that refuses this reader. */
function isPassing(error: unknown): boolean {
  if (error instanceof RefusedError) return error.retry
  const { exit } = toFailure(error)
  return exit === 'unreachable' || exit === 'unknown'
}

function formatLine(entry: FollowedEntry, isPrivate: boolean): string {
  const facts = Object.entries(entry.facts).filter(
    ([name]) => isPrivate || !name.startsWith('private.'),
  )
  return `${JSON.stringify({ ...entry, facts: Object.fromEntries(facts) })}\n`
}
