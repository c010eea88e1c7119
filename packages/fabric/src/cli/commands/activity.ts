import { setTimeout as sleep } from 'node:timers/promises'
import { ACTIVITY_WINDOWS, type ActivityView, type EdgeView } from '@countersign/protocol'
import { type Command, Option } from 'commander'
import { addClientOptions, type CliContext, type ClientOptions, outputOf } from '../context.ts'
import { withFabric } from '../fabric-client.ts'
import { watchInterruption } from '../interruption.ts'
import { parseCount, parsePrincipalName } from '../option-values.ts'
import type { Output } from '../output/output.ts'
import { formatMilliseconds, formatTime } from '../output/quantities.ts'

interface ActivityOptions extends ClientOptions {
  readonly window: ActivityView['window']
  readonly name?: string
  readonly limit: number
  readonly watch?: boolean
}

/** Between two reads of `--watch`; those of a minute are one entry of the ledger. */
const watchEveryMs = 5_000
/** As many as one answer has at most. */
const edgesMax = 1_000

export function addActivityCommand(program: Command, context: CliContext): void {
  addClientOptions(
    program
      .command('activity')
      .description('which agent calls which: rates, results and latencies, from the ledger')
      .addOption(
        new Option('--window <window>', 'the last hour or the last day')
          .choices([...ACTIVITY_WINDOWS])
          .default('hour'),
      )
      .option('--name <principal>', 'only those of this caller or receiver', parsePrincipalName)
      .option('--limit <number>', 'how many', parseCount, 20)
      .option('--watch', 'again every five seconds, until interrupted'),
  ).action((options: ActivityOptions) => showActivity(context, options))
}

async function showActivity(context: CliContext, options: ActivityOptions): Promise<void> {
  const output = outputOf(context, options)
  const { window, name, limit, watch = false } = options
  const bounds = { window, countMax: Math.min(limit, edgesMax) }
  const order = name === undefined ? bounds : { ...bounds, name }
  const interruption = watchInterruption()
  const { signal } = interruption
  try {
    await withFabric(context, options, async (fabric) => {
      do {
        const activity = await fabric.admin('activity.show', order)
        const render = () => formatActivity(output, activity)
        if (watch) output.line(activity, render)
        else output.show(activity, render)
        if (watch) await sleep(watchEveryMs, null, { signal }).catch(() => undefined)
      } while (watch && !signal.aborted)
    })
  } finally {
    interruption.stop()
  }
}

function formatActivity({ terminal }: Output, { edges, found, from, to }: ActivityView): string {
  const title = `${formatTime(from)} to ${formatTime(to)}`
  if (found === 0) return `${title}: no exchange`
  const table = terminal.table({
    columns: [
      { title: 'caller' },
      { title: 'receiver' },
      { title: 'count', align: 'right' },
      { title: '/min', align: 'right' },
      { title: 'refused', align: 'right' },
      { title: 'failed', align: 'right' },
      { title: 'p50', align: 'right' },
      { title: 'p95', align: 'right' },
      { title: 'p99', align: 'right', spare: true },
      { title: 'unknown', align: 'right', spare: true },
    ],
    rows: edges.map(rowOf),
  })
  const more = found > edges.length ? `\n${found - edges.length} more; --limit shows them` : ''
  return `${title}\n${table}${more}`
}

function rowOf({ caller, receiver, kind, latency, ...edge }: EdgeView) {
  const { exchanges, perMinute, refused, failed, unknown } = edge
  const times = latency === null ? [] : [latency.p50, latency.p95, latency.p99]
  const [p50 = '-', p95 = '-', p99 = '-'] = times.map(formatMilliseconds)
  const to = kind === 'channel' ? `#${receiver}` : receiver
  const numbers = [exchanges, perMinute.toFixed(1), refused, failed] as const
  return [caller, to, ...numbers, p50, p95, p99, unknown]
}
