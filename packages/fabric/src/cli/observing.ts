import { type ObserveListener, openObserveListener } from '../observe/listener.ts'
import type { Log } from '../observe/log.ts'
import { Metrics } from '../observe/metrics.ts'
import { observeProcess } from '../observe/process-metrics.ts'
import { Readiness } from '../observe/readiness.ts'
import { openSupervisor, type Supervisor } from '../observe/supervisor.ts'
import type { CliContext } from './context.ts'
import { Failure, toFailure } from './failure.ts'

export interface ObserveAddress {
  readonly host: string
  /** Null for the usual one, or a free one where another process has it. */
  readonly port: number | null
  readonly names: readonly string[]
}

/**
 * The listener that shows the state of a server: open before the server starts, until it has
 * stopped.
 */
export interface Observing {
  readonly metrics: Metrics
  readonly readiness: Readiness
  /** Null without a listener. */
  readonly url: string | null
  /** True if another process had the usual port. */
  readonly elsewhere: boolean
  /** The supervisor that started the process, if that is systemd. */
  readonly supervisor: Supervisor
  close(): Promise<void>
}

/** The port of the OpenTelemetry project’s exporter for Prometheus, which collectors look for. */
const usualPort = 9464

export async function openObserving(
  { clock, environment }: Pick<CliContext, 'clock' | 'environment'>,
  address: ObserveAddress | null,
  log: Log,
): Promise<Observing> {
  const metrics = new Metrics()
  const readiness = new Readiness()
  const supervisor = openSupervisor({
    environment: environment.supervisor,
    isAlive: () => readiness.isAlive(),
    onFault: (cause) => log('systemd cannot be notified', { error: cause.message }),
  })
  if (address === null) {
    const close = async (): Promise<void> => supervisor.close()
    return { metrics, readiness, supervisor, url: null, elsewhere: false, close }
  }
  const measured = observeProcess(metrics, clock.now())
  const { host, names } = address
  const port = address.port ?? usualPort
  const anyPort = address.port === null
  let listener: ObserveListener
  try {
    listener = await openObserveListener({
      ...{ host, port, anyPort, names, readiness, metrics },
      monotonic: () => clock.monotonic(),
    })
  } catch (error) {
    measured.close()
    const { exit, message } = toFailure(error)
    const next =
      'choose another address by `observe` or --observe, or turn it off by observe.enabled or --no-observe'
    const isUsage = exit === 'usage' || exit === 'internal'
    throw new Failure(
      isUsage ? 'usage' : 'unreachable',
      `the listener for probes and metrics: ${message}`,
      next,
    )
  }
  return {
    metrics,
    readiness,
    supervisor,
    url: listener.url,
    elsewhere: !listener.asAsked,
    async close() {
      supervisor.close()
      measured.close()
      await listener.close()
    },
  }
}
