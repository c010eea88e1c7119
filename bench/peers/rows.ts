import type { DiskFigures } from '../disk.ts'
import type { AddedLatency, Taken } from '../hop.ts'
import { missingRow, type Row, row } from '../row.ts'
import type { MeasuredPeers, PeerFigures } from './measure.ts'

/** The gateway's own figures, which the ratios divide. */
export interface GatewayFigures {
  readonly taken: Taken
  readonly halfPerSecond: number
  readonly added: AddedLatency
}

/** Four figures and the ratio of each peer, and a row for each that is not installed. */
export function peerRows(ours: GatewayFigures, peers: MeasuredPeers): readonly Row[] {
  return [
    ...peers.figures.flatMap((figures) => rowsOf(ours, figures)),
    ...peers.missing.map(({ name, howToInstall }) =>
      missingRow(`gateway.cpu-us-per-request ${name}`, howToInstall),
    ),
  ]
}

/**
 * The latency that the gateway may add: two hops of Envoy, and the two syncs of the entries that
 * Envoy does not write. Empty where Envoy is not installed.
 */
export function latencyBudgetRows(
  ours: GatewayFigures,
  { figures }: MeasuredPeers,
  disk: DiskFigures,
): readonly Row[] {
  const envoy = figures.find(({ peer }) => peer.name === 'Envoy')
  if (envoy === undefined) return []
  const budgetMs = 2 * envoy.added.p99Ms + 2 * disk.p99Ms
  return [
    row('gateway.added-p99-budget-ms', budgetMs, 'ms', {
      baseline: 'of it are spent',
      ratio: ours.added.p99Ms / budgetMs,
      note: "2 × Envoy's added p99 + 2 × the fdatasync p99 of this run",
    }),
  ]
}

function rowsOf(ours: GatewayFigures, figures: PeerFigures): readonly Row[] {
  const { peer, taken, added, addedAtRate, halfPerSecond } = figures
  const { name, isChecking } = peer
  const controls = isChecking ? 'mutual TLS, JWT, access rules, log' : 'TLS and log only'
  const atRate = `p50 ${ms(addedAtRate.p50Ms)}, p99 ${ms(addedAtRate.p99Ms)} at our rate`
  return [
    row(`gateway.cpu-us-per-request ${name}`, taken.cpuUs, 'µs', { note: controls }),
    row(`gateway.cpu-us-per-request ours / ${name}`, ours.taken.cpuUs / taken.cpuUs, '×'),
    row(`gateway.requests-per-s ${name}`, taken.perSecond, 'requests/s', {
      note: 'one worker; the load and the receiver share the machine with it',
    }),
    row(`gateway.added-p50-ms ${name}`, added.p50Ms, 'ms', {
      note: `at ${Math.round(halfPerSecond)} requests/s, half of its saturation`,
    }),
    row(`gateway.added-p99-ms ${name}`, added.p99Ms, 'ms', { note: atRate }),
  ]
}

const ms = (value: number): string => `${value.toFixed(2)} ms`
