import { monitorEventLoopDelay } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'
import type { Metrics } from './metrics.ts'
import { openFiles, openFilesMax } from './open-files.ts'

const percentiles = [50, 99] as const
const delayResolutionMs = 20

/**
 * Adds the metrics that a monitoring system knows of every process, under the names that it knows
 * them by.
 */
export function observeProcess(metrics: Metrics, startedAt: number): { close(): void } {
  const delay = monitorEventLoopDelay({ resolution: delayResolutionMs })
  delay.enable()
  let files: number | null = null
  let filesMax: number | null = null
  let delays: readonly (readonly [label: string, seconds: number])[] = []
  metrics.before(async () => {
    files = await openFiles()
    filesMax ??= await openFilesMax()
    delays = delaysOf(delay)
  })
  metrics.gauge(
    { name: 'process_resident_memory_bytes', help: 'Resident memory of the process.' },
    () => process.memoryUsage.rss(),
  )
  metrics.total(
    { name: 'process_cpu_seconds', help: 'Processor time of the process, user and system.' },
    () => {
      const { user, system } = process.cpuUsage()
      return (user + system) / 1e6
    },
  )
  metrics.gauge({ name: 'process_start_time_seconds', help: 'Start of the process.' }, () =>
    Math.floor(startedAt / 1000),
  )
  metrics.gauge({ name: 'process_open_fds', help: 'Open files and sockets.' }, () => files)
  metrics.gauge({ name: 'process_max_fds', help: 'The limit of open files.' }, () => filesMax)
  metrics.gauge(
    { name: 'countersign_heap_bytes', help: 'Memory of the JavaScript heap.', labels: ['of'] },
    () => {
      const heap = getHeapStatistics()
      return [
        { labels: ['used'], value: heap.used_heap_size },
        { labels: ['limit'], value: heap.heap_size_limit },
      ]
    },
  )
  metrics.gauge(
    {
      name: 'countersign_event_loop_delay_seconds',
      help: 'Event loop delay since the last scrape.',
      labels: ['statistic'],
    },
    () => delays.map(([label, value]) => ({ labels: [label], value })),
  )
  return { close: () => delay.disable() }
}

function delaysOf(
  delay: ReturnType<typeof monitorEventLoopDelay>,
): readonly (readonly [string, number])[] {
  // Each sample holds the resolution itself, which is not a delay.
  const seconds = (ns: number): number => Math.max(0, ns / 1e9 - delayResolutionMs / 1000)
  const found = [
    ...percentiles.map((of) => [`p${of}`, seconds(delay.percentile(of))] as const),
    ['max', seconds(delay.max)] as const,
  ]
  delay.reset()
  return found
}
