import { type ObserveListener, openObserveListener } from '../observe/listener.ts'
import { Metrics } from '../observe/metrics.ts'
import { observeProcess } from '../observe/process-metrics.ts'
import { Readiness } from '../observe/readiness.ts'
import type { CliContext } from './context.ts'
import { Failure } from './failure.ts'

export interface ObserveAddress {
  readonly host: string
  /** Null for the usual one, or a free one where another process has it. */
  readonly port: number | null
  readonly names: readonly string[]
}

/** How a server shows itself: open before the server starts, until it has stopped. */
export interface Observing {
  readonly metrics: Metrics
  readonly readiness: Readiness
  /** Null when there is no listener. */
  readonly url: string | null
  /** Where another process had the usual port. */
  readonly elsewhere: boolean
  close(): Promise<void>
}

/** The port of the OpenTelemetry project’s exporter for Prometheus, which collectors look for. */
const usualPort = 9464

export async function openObserving(
  { clock }: Pick<CliContext, 'clock'>,
  address: ObserveAddress | null,
): Promise<Observing> {
  const metrics = new Metrics()
  const readiness = new Readiness()
  if (address === null)
    return { metrics, readiness, url: null, elsewhere: false, close: async () => undefined }
  const measured = observeProcess(metrics, clock.now())
  const { host, names } = address
  const port = address.port ?? usualPort
  const anyPort = address.port === null
  let listener: ObserveListener
  try {
    listener = await openObserveListener({ host, port, anyPort, names, readiness, metrics })
  } catch (error) {
    measured.close()
    const cause = error instanceof Error ? error.message : String(error)
    const next = 'choose another address for it, or turn it off: observe.enabled, --no-observe'
    throw new Failure('usage', `the listener for probes and metrics: ${cause}`, next)
  }
  return {
    metrics,
    readiness,
    url: listener.url,
    elsewhere: !listener.asAsked,
    async close() {
      measured.close()
      await listener.close()
    },
  }
}
