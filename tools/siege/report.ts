import { leaseMemoryDefault } from '../../packages/fabric/src/channels/lease-memory.ts'
import { configSchema } from '../../packages/fabric/src/config/schema.ts'
import { publicAddressBytesMax } from '../../packages/fabric/src/transports/gateway/gateway.ts'
import { sharedBytesMax } from '../../packages/fabric/src/transports/gateway/shared-resources.ts'
import { heapBytesFor } from '../../packages/fabric/src/transports/http/thread-lane.ts'
import { KINDS, type Seen } from './client.ts'
import { newTally, type Tally } from './tally.ts'

const mebibyte = 1024 * 1024
const { limits: limitsDefault } = configSchema.parse({})

/**
 * Memory that the attackers can make the server occupy by design, as the code has it: rows of
 * docs/operate/limits.md. They have one identity and one address, so of a budget with shares they
 * have the share of one.
 */
export const BUDGETS_BYTES: Readonly<Record<string, number>> = {
  'limits.requestMemoryBytes, of one identity': limitsDefault.requestMemoryBytes / 4,
  'limits.responseMemoryBytes, of one caller': limitsDefault.responseMemoryBytes / 2,
  'http.publicBytes, of one address': publicAddressBytesMax,
  'limits.unsentBytes': limitsDefault.unsentBytes,
  'http.sharedBytes': sharedBytesMax,
  'queue.leaseMemoryBytes, of one identity': leaseMemoryDefault.identityBytesMax,
  'work.heapBytes, of the two lanes': 2 * heapBytesFor(limitsDefault.bodyBytes),
}

export const budgetMib: number =
  Object.values(BUDGETS_BYTES).reduce((sum, each) => sum + each, 0) / mebibyte

/** Memory that the server may hold beyond its quietest phase once the siege is over. */
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

/** Returns the faults that make the siege a failure; empty when the server withstood it. */
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

/** Memory that a second siege may leave beyond the first: anything above grows with every siege. */
const leakMibMax = 32

/**
 * By siege, what was left of it. Much may be left of the first; what the later ones add is a leak.
 */
export function leakFaults(afterMib: readonly number[]): readonly string[] {
  const [first, ...later] = afterMib
  const last = later.at(-1)
  if (first === undefined || last === undefined || last - first <= leakMibMax * later.length)
    return []
  return [`memory leaks: ${afterMib.map(mib).join(', ')} after one siege and the next`]
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
  const memory =
    `resident memory: quiet ${mib(peakOf(quiet.rssMib))}, siege ${mib(peakOf(siege.rssMib))}, ` +
    `after ${mib(afterMib)}; budgets ${mib(budgetMib)}`
  const failed = `failures: quiet ${quiet.seen.failures.length}, siege ${siege.seen.failures.length}`
  return [...columns([head, ...rows]), '', memory, failed].join('\n')
}

/** The result of each attack: rounds, rounds that failed, and effects. */
export function tallyTable(
  names: readonly string[],
  tallies: Readonly<Record<string, Tally>>,
): string {
  const rows = names.map((name) => {
    const { rounds, failed, effects } = tallies[name] ?? newTally()
    return [name, String(rounds), String(failed), String(effects)]
  })
  return columns([['attack', 'rounds', 'failed', 'effects'], ...rows]).join('\n')
}

/** Each column is as wide as its widest cell: the first to the left, the others to the right. */
function columns(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, at) =>
    Math.max(...rows.map((row) => row[at]?.length ?? 0)),
  )
  return rows.map((row) =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join('  ')
      .trimEnd(),
  )
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
