import { X509Certificate } from 'node:crypto'
import type { OpenedEntry } from '../ledger/ledger-reads.ts'
import type { Clock } from '../lib/clock.ts'
import { type DiskWatch, watchDisk } from '../observe/disk-watch.ts'
import { observeExchanges } from '../observe/exchange-metrics.ts'
import type { Metrics } from '../observe/metrics.ts'
import { fittingConnections, openFilesMax } from '../observe/open-files.ts'
import type { Readiness } from '../observe/readiness.ts'
import type { GatewayLoad } from '../transports/gateway/gateway.ts'
import type { Consumers } from './detection.ts'
import type { Environment, Stores } from './stores.ts'

/** The metrics and readiness of a process; made by the code that opens the listener for them. */
export interface Observations {
  readonly metrics: Metrics
  readonly readiness: Readiness
}

export function openDiskWatch(
  { config: { dataDir }, onFatal }: Environment,
  { ledger: { slot } }: Pick<Stores, 'ledger'>,
): DiskWatch {
  return watchDisk({ dataDir, slot }, (cause) => onFatal('the data folder cannot be used', cause))
}

/** As many as configured, or as this process can hold in addition to the files of its stores. */
export async function connectionsMax({ config, log }: Environment): Promise<number> {
  const { connections } = config.limits
  const files = await openFilesMax()
  const fitting = fittingConnections(connections, files)
  if (fitting < connections) {
    log('fewer connections than configured', { connections: fitting, 'open files': files ?? 0 })
  }
  return fitting
}

export interface ObservedParts {
  readonly stores: Stores
  readonly load: () => Promise<GatewayLoad>
  /** Reports whether an agent or channel of that name exists. */
  isReceiver(name: string): boolean
  onEntry(listener: (entry: OpenedEntry) => void): () => void
  readonly consumers: Pick<Consumers, 'all' | 'needed'>
  readonly version: string
}

/** Shows a fabric's parts, each from memory: a probe costs nothing and writes nothing. */
export function observeFabric(environment: Environment, parts: ObservedParts): () => void {
  const { observe, clock } = environment
  if (observe === undefined) return () => undefined
  const { metrics } = observe
  const stop = parts.onEntry(
    observeExchanges({
      metrics,
      isKnown: (name) => parts.isReceiver(name),
      monotonic: () => clock.monotonic(),
    }),
  )
  metrics.gauge(
    { name: 'countersign_build_info', help: 'The running version.', labels: ['version'] },
    () => [{ labels: [parts.version], value: 1 }],
  )
  showReadiness(observe)
  observe.readiness.add({ name: 'counters', fault: () => parts.stores.counters.fault() })
  observe.readiness.add({ name: 'policies', fault: () => parts.stores.policy.fault() })
  showLedger(observe, parts.stores, clock)
  showConsumers(observe, parts.consumers)
  showFollowers(metrics, parts.stores)
  showListener(metrics, parts.load)
  showChannels(metrics, parts.stores, clock)
  showCertificates(environment, observe, parts.stores)
  return stop
}

export function showReadiness({ metrics, readiness }: Observations): void {
  metrics.gauge({ name: 'countersign_ready', help: '1 when /readyz answers 200.' }, () =>
    readiness.faults().length === 0 ? 1 : 0,
  )
}

/** A commit takes milliseconds; entries that wait for this long wait for a disk that hangs. */
const commitMsMax = 10_000

function showLedger({ metrics, readiness }: Observations, { ledger }: Stores, clock: Clock): void {
  let reached = { size: -1, at: clock.monotonic() }
  const gauge = (name: string, help: string, read: () => number | null): void =>
    metrics.gauge({ name: `countersign_ledger_${name}`, help }, read)
  gauge('entries', 'Durable entries.', () => ledger.state.size)
  gauge('published_entries', 'Entries that a checkpoint covers.', () => ledger.state.publishedSize)
  gauge('queue_entries', 'Entries that wait to be written.', () => ledger.state.queueDepth)
  gauge('open_exchanges', 'Intents without an outcome.', () => ledger.state.openIntents)
  gauge('unpublished_bytes', 'Durable and in no tile yet.', () => ledger.state.unpublishedBytes)
  gauge('commit_seconds', 'Of the newest commit.', () => inSeconds(ledger.state.lastCommitMs))
  gauge('free_bytes', 'Free on the fullest disk of the ledger.', () => ledger.state.space.freeBytes)
  gauge('free_bytes_min', 'Below it nothing begins.', () => ledger.state.space.refuseBytes)
  readiness.add({
    name: 'commits',
    isVital: true,
    fault() {
      const { queueDepth, size } = ledger.state
      const now = clock.monotonic()
      if (queueDepth === 0 || size !== reached.size) reached = { size, at: now }
      return now - reached.at > commitMsMax
        ? `${queueDepth} entries wait, and none is committed`
        : null
    },
  })
  readiness.add({
    name: 'ledger',
    fault() {
      const { space } = ledger.state
      if (space.state === 'ok' || space.state === 'low') return null
      const free = space.freeBytes === null ? 'an unknown number of' : String(space.freeBytes)
      return `${free} bytes are free on its disk; below ${space.refuseBytes} nothing is delivered`
    },
  })
}

/** Each by its name, of which there are a few. */
function showConsumers(
  { metrics, readiness }: Observations,
  { all, needed }: ObservedParts['consumers'],
): void {
  const gauge = (
    name: string,
    help: string,
    of: 'behind' | 'skipped' | 'position' | 'saved',
  ): void =>
    metrics.gauge({ name: `countersign_consumer_${name}`, help, labels: ['consumer'] }, () =>
      all.map(({ status }) => ({ labels: [status.name], value: status[of] })),
    )
  gauge('behind_entries', 'Durable entries that a follower of the ledger has not taken.', 'behind')
  gauge('skipped_entries', 'Entries that it could not open, such as erased ones.', 'skipped')
  gauge('position_entries', 'Entries that it has taken, from the first one on.', 'position')
  gauge('saved_entries', 'Those that its file covers.', 'saved')
  for (const consumer of needed) {
    readiness.add({ name: consumer.status.name, fault: () => consumer.fault() })
  }
}

/** Together: the names of readers would be labels without a bound. */
function showFollowers(metrics: Metrics, { ledger }: Stores): void {
  metrics.gauge(
    { name: 'countersign_followers', help: 'Connected readers that follow the ledger.' },
    () => ledger.followers.length,
  )
  metrics.gauge(
    {
      name: 'countersign_follower_behind_entries_max',
      help: 'Durable entries that the slowest of them was not sent yet; 0 without any.',
    },
    () => Math.max(0, ...ledger.followers.map(({ position }) => ledger.size - position)),
  )
}

function inSeconds(ms: number | null): number | null {
  return ms === null ? null : ms / 1000
}

function showListener(metrics: Metrics, load: ObservedParts['load']): void {
  let now: GatewayLoad | null = null
  metrics.before(async () => {
    now = await load()
  })
  const gauge = (name: string, help: string, member: keyof GatewayLoad): void =>
    metrics.gauge({ name: `countersign_${name}`, help }, () => now?.[member] ?? null)
  gauge('connections', 'Open connections of the gateway.', 'connections')
  gauge('connections_max', 'Connections beyond it are closed.', 'connectionsMax')
  gauge('request_memory_bytes', 'Request bodies that are held.', 'bodyBytes')
  gauge('request_memory_bytes_max', 'The budget for request bodies.', 'bodyBytesMax')
  gauge('response_memory_bytes', 'Response bytes that callers have not taken.', 'unsentBytes')
}

/** The store counts its rows for this, so it is asked now and then only. */
const channelStatsEveryMs = 10_000

function showChannels(metrics: Metrics, { queue }: Stores, clock: Clock): void {
  let asked = Number.NEGATIVE_INFINITY
  let totals = { channels: 0, messages: 0, bytes: 0, dead: 0 }
  metrics.before(async () => {
    const now = clock.monotonic()
    if (now - asked < channelStatsEveryMs) return
    asked = now
    const stats = await queue.present.channelStore.stats().catch(() => [])
    totals = { channels: stats.length, messages: 0, bytes: 0, dead: 0 }
    for (const { messages, bytes, dead } of stats) {
      totals.messages += messages
      totals.bytes += bytes
      totals.dead += dead
    }
  })
  const gauge = (name: keyof typeof totals, help: string): void =>
    metrics.gauge({ name: `countersign_channels_${name}`, help }, () => totals[name])
  gauge('channels', 'Channels.')
  gauge('messages', 'Messages that channels keep.')
  gauge('bytes', 'Bytes that channels keep.')
  gauge('dead', 'Dead-lettered messages.')
}

function showCertificates(
  { clock }: Environment,
  { metrics, readiness }: Observations,
  { identity, state, forwardKey }: Stores,
): void {
  const rootExpiresAt = Date.parse(new X509Certificate(identity.authority.rootPem).validTo)
  metrics.gauge(
    {
      name: 'countersign_certificate_expiry_seconds',
      help: 'When a certificate expires, in Unix time.',
      labels: ['certificate'],
    },
    () => [
      { labels: ['gateway'], value: Math.floor(identity.server.current().expiresAt / 1000) },
      { labels: ['root'], value: Math.floor(rootExpiresAt / 1000) },
    ],
  )
  readiness.add({
    name: 'state',
    fault: () => (state.isFresh() ? null : 'it was not read for too long to decide by it'),
  })
  readiness.add({ name: 'forward key', fault: () => forwardKey.fault() })
  readiness.add({
    name: 'certificate',
    fault: () =>
      identity.server.current().expiresAt > clock.now() ? null : 'that of the gateway has expired',
  })
}
