import { clientTlsOptions } from '@countersign/protocol/tls'
import { type buildConnector, Client, type Dispatcher, Pool } from 'undici'
import type { Descriptors } from './descriptors.ts'
import { Dispatched } from './dispatched.ts'
import { type Lane, openLane, type ReceiverTls } from './lane.ts'

/** More receivers than this at once, and the least recently used connection pool is closed. */
const poolsMax = 256

export interface PoolOptions extends Pick<LaneParts, 'descriptors' | 'lanes' | 'now'> {
  tlsFor(spiffeId: string): ReceiverTls
  readonly headersTimeoutMs: number
  readonly connectionsPerEndpointMax: number
  readonly idleMs: number
}

interface PoolOf {
  readonly origin: string
  readonly spiffeId: string | null
  readonly connectMs: number
}

/** Connections over HTTP/1.1: undici's pools, one for each receiver and time to connect. */
export class Pools {
  readonly #options: PoolOptions
  readonly #pools = new Map<string, Pool>()
  #isClosed = false

  constructor(options: PoolOptions) {
    this.#options = options
  }

  /** Never throws: reports each failure to `dispatched`. */
  dispatch(target: PoolOf, options: Dispatcher.DispatchOptions, dispatched: Dispatched): void {
    try {
      if (this.#isClosed) throw new Error('connections to receivers are closed')
      this.#find(target).dispatch(options, dispatched)
    } catch (cause) {
      dispatched.onResponseError(null, cause)
    }
  }

  refresh(): void {
    for (const pool of this.#pools.values()) pool.close().catch(() => undefined)
    this.#pools.clear()
  }

  /** Requests that begin later fail, those that wait for a connection now among them. */
  async close(): Promise<void> {
    this.#isClosed = true
    const open = [...this.#pools.values()]
    this.#pools.clear()
    await Promise.all(open.map((pool) => pool.destroy()))
  }

  #find(target: PoolOf): Pool {
    const key = `${target.origin} ${target.spiffeId ?? ''} ${target.connectMs}`
    const known = this.#pools.get(key)
    const pool = known ?? newPool(this.#options, target)
    this.#pools.delete(key)
    this.#pools.set(key, pool)
    const [oldest] = this.#pools
    if (this.#pools.size > poolsMax && oldest !== undefined) {
      this.#pools.delete(oldest[0])
      oldest[1].close().catch(() => undefined)
    }
    return pool
  }
}

function newPool(options: PoolOptions, { origin, spiffeId, connectMs }: PoolOf): Pool {
  // Instances of one agent are one receiver.
  const receiver = spiffeId ?? origin
  const { descriptors, lanes, idleMs } = options
  const tls = spiffeId === null ? null : options.tlsFor(spiffeId)
  return new Pool(origin, {
    connections: options.connectionsPerEndpointMax,
    pipelining: 1,
    allowH2: false,
    factory: (place, given) =>
      laneClient(place, given, { descriptors, receiver, tls, lanes, now: options.now }),
    // Silence is normal on event streams; the exchange's own signal ends them.
    bodyTimeout: 0,
    headersTimeout: options.headersTimeoutMs,
    keepAliveTimeout: idleMs,
    // A receiver's Keep-Alive field can shorten it, never prolong it.
    keepAliveMaxTimeout: idleMs,
    connect: {
      timeout: connectMs,
      ...(tls === null ? {} : clientTlsOptions(tls)),
    },
  })
}

/** One connection after another of a pool; each shows what its receiver can have seen. */
class LaneClient extends Client {
  readonly #findLane: () => Lane | null

  constructor(origin: URL, options: Client.Options, findLane: () => Lane | null) {
    super(origin, options)
    this.#findLane = findLane
  }

  override dispatch(
    options: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
  ): boolean {
    if (handler instanceof Dispatched) handler.takeLane(this.#findLane)
    const lane = this.#findLane()
    // The client makes another connection for this request, in whose handshake the peer is asked.
    if (lane !== null && lane.fault() !== null && this.stats.running === 0) lane.close()
    return super.dispatch(options, handler)
  }
}

interface LaneParts {
  readonly descriptors: Descriptors
  readonly receiver: string
  /** Null for a receiver that proves no SPIFFE ID. */
  readonly tls: ReceiverTls | null
  /** Those that stand. */
  readonly lanes: Set<Lane>
  readonly now: () => number
}

function laneClient(
  origin: URL,
  options: object,
  { descriptors, receiver, tls, lanes, now }: LaneParts,
): Dispatcher {
  // The pool has made the connector already, so that all clients share it.
  const { connect } = options as { readonly connect: buildConnector.connector }
  let lane: Lane | null = null
  const bounded = descriptors.bound(connect, receiver)
  const connected: buildConnector.connector = (target, done) => {
    bounded(target, (...result) => {
      const [fault, socket] = result
      lane = null
      if (fault !== null || socket === null) return done(...result)
      const opened = openLane(socket, { expected: tls, now })
      if (opened instanceof Error) return done(opened, null)
      lane = opened
      lanes.add(opened)
      socket.once('close', () => lanes.delete(opened))
      done(...result)
    })
  }
  return new LaneClient(origin, { ...options, connect: connected }, () => lane)
}
