import { KINDS, type Seen } from './client.ts'

/** Memory that clients can make the server occupy by design: rows of docs/operate/limits.md. */
export const BUDGETS_MIB = {
  'limits.requestMemoryBytes': 256,
  'http.publicBytes': 8,
  'limits.unsentBytes': 128,
  'http.sharedBytes': 16,
  // The thread for large bodies may take a gibibyte; one body of the largest size takes this.
  'work.heapBytes, one body': 192,
} as const

export const budgetMib: number = Object.values(BUDGETS_MIB).reduce((sum, each) => sum + each, 0)

/** How much more than at its quietest the server may hold once the siege is over. */
export const leftMibMax = 96

export interface Phase {
  readonly seen: Seen
  /** Resident memory of the server, by the second. */
  readonly rssMib: readonly number[]
}

export interface Outcome {
  readonly quiet: Phase
  readonly siege: Phase
  /** Resident memory at its lowest after the siege. */
  readonly afterMib: number
  readonly hasServerEnded: boolean
}

/** What makes the siege a failure; empty when the server withstood it. */
export function faultsOf({ quiet, siege, afterMib, hasServerEnded }: Outcome): readonly string[] {
  const failures = [...quiet.seen.failures, ...siege.seen.failures]
  const counts = new Map<string, number>()
  for (const each of failures) counts.set(each, (counts.get(each) ?? 0) + 1)
  const grown = peakOf(siege.rssMib) - peakOf(quiet.rssMib)
  const left = afterMib - peakOf(quiet.rssMib)
  return [
    ...(hasServerEnded ? ['the server ended'] : []),
    ...[...counts].map(([reason, count]) => `the client failed ${count} times: ${reason}`),
    ...(grown > budgetMib ? [`memory grew by ${mib(grown)}, more than ${mib(budgetMib)}`] : []),
    ...(left > leftMibMax ? [`memory did not return: ${mib(left)} above the quiet run`] : []),
    ...KINDS.filter((kind) => siege.seen.latenciesMs[kind].length === 0).map(
      (kind) => `no ${kind} came through`,
    ),
  ]
}

/** A table of at most 80 columns. */
export function tableOf({ quiet, siege, afterMib }: Outcome): string {
  const rows = KINDS.map((kind) => {
    const [before, during] = [quiet.seen.latenciesMs[kind], siege.seen.latenciesMs[kind]]
    return [
      kind,
      ...[String(before.length), ms(percentile(before, 0.5)), ms(percentile(before, 0.99))],
      ...[String(during.length), ms(percentile(during, 0.5)), ms(percentile(during, 0.99))],
    ]
  })
  const head = ['', 'quiet', 'p50', 'p99', 'siege', 'p50', 'p99']
  const widths = [16, 8, 9, 9, 8, 9, 9]
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join('')
  const memory =
    `resident memory: quiet ${mib(peakOf(quiet.rssMib))}, siege ${mib(peakOf(siege.rssMib))}, ` +
    `after ${mib(afterMib)}; budgets ${mib(budgetMib)}`
  const failed = `failures: quiet ${quiet.seen.failures.length}, siege ${siege.seen.failures.length}`
  return [line(head), ...rows.map(line), '', memory, failed].join('\n')
}

function peakOf(samples: readonly number[]): number {
  return Math.max(0, ...samples)
}

function percentile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
}

const ms = (value: number): string => `${value.toFixed(1)} ms`
const mib = (value: number): string => `${Math.round(value)} MiB`
