import type { PruneBound, PruneView, RetentionView } from '@countersign/protocol'
import type { Command } from 'commander'
import { confirm } from '../confirm.ts'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { withFabric } from '../fabric-client.ts'
import { Failure } from '../failure.ts'
import type { Output } from '../output/output.ts'
import { formatCount, formatMebibytes, formatTime } from '../output/quantities.ts'

interface PruneOptions extends ClientOptions {
  readonly dryRun?: boolean
  readonly reason?: string
  readonly yes?: boolean
}

export function addPruneCommand(ledger: Command, context: CliContext): void {
  addClientOptions(
    ledger
      .command('prune')
      .description('remove entries that are older than the retention policy keeps')
      .option('--dry-run', 'show what would go, and change nothing')
      .option('--reason <text>', 'for the ledger')
      .option('--yes', 'do not ask'),
  ).action((options: PruneOptions) => prune(context, options))
}

/** A first pruning of an old log is many steps; each is bounded, and on record. */
const stepsMax = 1_000

async function prune(context: CliContext, options: PruneOptions): Promise<void> {
  const output = outputOf(context, options)
  await withFabric(context, options, async (fabric) => {
    const found = await fabric.admin('ledger.retention', {})
    if (options.dryRun === true) {
      output.show(found, () => formatPlan(found, output))
      return
    }
    if (found.keepDays === null) {
      const next =
        'set ledger.retention in the configuration; docs/operate/retention.md explains it'
      throw new Failure('usage', 'no retention policy is configured, so every entry is kept', next)
    }
    output.note(`${formatPlan(found, output)}\n`)
    if (found.minimum === found.first) {
      context.end('no')
      return
    }
    const count = formatCount(found.minimum - found.first, 'entry', 'entries')
    if (options.yes !== true && !(await confirm(output, `Remove ${count} for good?`))) {
      output.note('Nothing was removed. Run it again with --yes to prune without a question.')
      context.end('no')
      return
    }
    const { slot } = found
    const order = options.reason === undefined ? { slot } : { slot, reason: options.reason }
    const progress = output.progress('Removing entries')
    const steps: PruneView[] = []
    try {
      do steps.push(await fabric.admin('ledger.prune', order))
      while (steps.at(-1)?.keptBy === 'turn' && steps.length < stepsMax)
    } finally {
      progress.stop()
    }
    const done = joined(steps, found)
    output.show(done, () => formatPruned(done, output))
  })
}

function joined(steps: readonly PruneView[], { slot, first }: RetentionView): PruneView {
  const last = steps.at(-1)
  if (last === undefined) throw new TypeError('there is at least one step')
  const sum = (of: (step: PruneView) => number) => steps.reduce((all, step) => all + of(step), 0)
  const entry = steps.findLast((step) => step.entry !== null)?.entry ?? null
  const { failed } = last
  return {
    ...last,
    slot,
    first,
    entry,
    failed,
    files: sum((s) => s.files),
    bytes: sum((s) => s.bytes),
  }
}

function formatPlan(found: RetentionView, { terminal: { facts } }: Output): string {
  const { slot, keepDays, holds, first, minimum, size, oldestAt, newestAt, bytes } = found
  const goes = minimum - first
  return facts([
    ['log slot', slot],
    ['policy', keepDays === null ? 'none: every entry is kept' : `${keepDays} days`],
    ...holds.map(({ name, from, until, reason }): [string, string] => [
      `hold ${name}`,
      `${formatTime(from)} to ${endOf(until)}: ${reason}`,
    ]),
    ['entries', `${first} to ${size - 1}${first === 0 ? '' : `; ${first} were pruned before`}`],
    [
      'would go',
      goes === 0 ? 'none' : `${formatCount(goes, 'entry', 'entries')}, ${first} to ${minimum - 1}`,
    ],
    ...(goes === 0
      ? []
      : ([
          ['oldest', oldestAt === null ? '-' : formatTime(oldestAt)],
          ['newest', newestAt === null ? '-' : formatTime(newestAt)],
          ['size', `about ${formatMebibytes(bytes)}`],
        ] as [string, string][])),
    [`entry ${minimum}`, reasonOf(found)],
  ])
}

function endOf(until: number): string {
  return until === Number.MAX_SAFE_INTEGER ? 'now and later' : formatTime(until)
}

function formatPruned(done: PruneView, { terminal: { paint, facts } }: Output): string {
  const { first, minimum, entry, files, bytes, failed, slot } = done
  const count = formatCount(minimum - first, 'entry', 'entries')
  return [
    `${paint('green', 'pruned')} the log of slot ${slot}: ${count} gone`,
    facts([
      ['removed', `${formatCount(files, 'file')}, ${formatMebibytes(bytes)}`],
      ...(failed === 0
        ? []
        : ([['left', `${formatCount(failed, 'file')}; see the log`]] as [string, string][])),
      ['recorded by', entry === null ? '-' : `entry ${entry}`],
      [`entry ${minimum}`, reasonOf(done)],
    ]),
  ].join('\n')
}

/** The reason why the first entry that is left stays. */
function reasonOf({ keptBy, keptByName }: PruneBound): string {
  const name = keptByName ?? ''
  const reasons: Readonly<Record<PruneBound['keptBy'], string>> = {
    policy: 'stays: no policy is set',
    age: 'stays: it, or one of its block, is too young',
    hold: `stays: hold ${name}`,
    clock: 'stays: the clock of the fabric went ahead; restart the fabric',
    exchange: `stays: ${name} is under way`,
    publication: 'stays: its block is not complete yet',
    reader: `stays: ${name} has not read it yet`,
    erasure: 'stays: an erasure is under way',
    turn: 'goes with the next pruning',
  }
  return reasons[keptBy]
}
