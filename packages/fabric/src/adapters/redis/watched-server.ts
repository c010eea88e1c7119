import { hash } from 'node:crypto'
import { ListenerSet } from '@countersign/protocol'
import { type Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/random.ts'
import { claimText, markText, spendText } from './scripts.ts'
import { readServerReport } from './server-report.ts'
import {
  openSession,
  REDIS_BOUNDS,
  type RedisBounds,
  type RedisTarget,
  type Session,
} from './session.ts'

export interface WatchedServerOptions {
  readonly target: RedisTarget
  /** Begins every key. Fabrics with the same prefix share their counters. */
  readonly prefix: string
  readonly clock: Clock
  readonly random: Random
  /** True when no value can have been used before: the fabric is new. */
  readonly isFirst: boolean
  readonly bounds?: Partial<RedisBounds>
  log(event: string, facts?: Readonly<Record<string, string | number>>): void
}

/**
 * The clocks of the server and of each fabric may differ by this much. More is refused: a loss has
 * the time of the server, and signatures are judged by that of a fabric.
 */
export const clockDifferenceMsMax = 5_000
/** A clock of the server that moves by more between two looks has freed values early. */
const clockJumpMsMax = 2_000

/** Result of the last good look at the server. */
interface Look {
  readonly session: Session
  readonly markerId: string
  /** Monotonic, from before the look. */
  readonly at: number
}

const scripts = { mark: markText, claim: claimText, spend: spendText } as const

/**
 * A server that is looked at on each connection and at least once a second: its identity, its
 * policy, its clock, and a marker of ours among its keys. Nothing is claimed on a connection that
 * was not looked at, and nothing after `staleMs` without a good look.
 */
export class WatchedServer {
  readonly #options: WatchedServerOptions
  readonly #bounds: RedisBounds
  readonly markerKey: string
  readonly #lookListeners = new ListenerSet()
  #look: Look | null = null
  /** Server's clock minus our monotonic one, also as of a look that does not count. */
  #clockOffset: number | null = null
  /** Since the marker was last written: values may have been freed early. */
  #hasJumped = false
  #looking: Promise<void> | null = null
  #session: Session | null = null
  #timer: NodeJS.Timeout | undefined
  #lostAt = Number.NEGATIVE_INFINITY
  /** The reason why the last look does not count; empty if it does. */
  #fault = 'it was not looked at'
  #isClosed = false
  /** For the first look alone: later, a missing marker is that of a server that was emptied. */
  #isFirst: boolean

  private constructor(options: WatchedServerOptions) {
    this.#options = options
    this.#bounds = { ...REDIS_BOUNDS, ...options.bounds }
    this.markerKey = `${options.prefix}:marker`
    this.#isFirst = options.isFirst
  }

  /** Rejects if the server cannot be used, with the reason. The caller must close it. */
  static async open(options: WatchedServerOptions): Promise<WatchedServer> {
    const server = new WatchedServer(options)
    await server.#lookOnce()
    if (server.#look === null) {
      server.close()
      throw new Error(server.#outOfReach())
    }
    server.#schedule()
    return server
  }

  get prefix(): string {
    return this.#options.prefix
  }

  /** As `UsedValues.lostAt`: the server's time, and the most that a fabric's clock is ahead. */
  lostAt(): number {
    return this.#lostAt
  }

  /** Why nothing can be claimed or counted now; null while it can. */
  fault(): string | null {
    const look = this.#look
    if (look === null || look.session.isBroken) return this.#outOfReach()
    if (this.#options.clock.monotonic() - look.at <= this.#bounds.staleMs) return null
    return `${this.#name()} was not looked at for ${this.#bounds.staleMs} ms`
  }

  /** The marker that the last good look found; null without one. It differs after each loss. */
  marker(): string | null {
    return this.#look?.markerId ?? null
  }

  /** The clock of the server, in Unix milliseconds; null without a good look. */
  now(): number | null {
    if (this.#look === null || this.#clockOffset === null) return null
    return this.#options.clock.monotonic() + this.#clockOffset
  }

  /** Called after each good look. */
  onLook(listener: () => void): () => void {
    return this.#lookListeners.add(listener)
  }

  /** Runs a script on a server with a good look. */
  async run(
    name: keyof typeof scripts,
    keys: readonly string[],
    args: readonly string[],
  ): Promise<unknown> {
    const look = this.#look
    const fault = this.fault()
    if (look === null || fault !== null) {
      this.#lookSoon()
      throw new Error(fault ?? this.#outOfReach())
    }
    try {
      return await runScript(look.session, name, keys, args)
    } catch (cause) {
      // A server that refuses a command may be another one than it was: a replica, or an empty one.
      this.#lookSoon()
      throw new Error(`${this.#name()}: ${textOf(cause)}`, { cause })
    }
  }

  /** Looks now, together with others that ask; resolves when the look has ended, good or bad. */
  lookAgain(): Promise<void> {
    return this.#lookOnce()
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#session?.destroy()
    this.#look = null
  }

  #schedule(): void {
    if (this.#isClosed) return
    this.#timer = setTimeout(() => {
      void this.#lookOnce().then(() => this.#schedule())
    }, this.#bounds.checkMs)
    this.#timer.unref()
  }

  /** Once for all requests that find the connection broken; then the timer goes on. */
  #lookSoon(): void {
    if (this.#looking === null && this.#look !== null) void this.#lookOnce()
  }

  #lookOnce(): Promise<void> {
    this.#looking ??= this.#tryLook().finally(() => {
      this.#looking = null
    })
    return this.#looking
  }

  async #tryLook(): Promise<void> {
    if (this.#isClosed) return
    try {
      this.#look = await this.#takeLook()
      if (this.#fault !== '') this.#options.log('counters can be used', { server: this.#name() })
      this.#fault = ''
      this.#lookListeners.notify()
    } catch (cause) {
      this.#look = null
      this.#session?.destroy()
      this.#session = null
      const fault = textOf(cause)
      const isNew = fault !== this.#fault
      this.#fault = fault
      if (isNew) this.#options.log('counters cannot be used', { server: this.#name(), fault })
    }
  }

  async #takeLook(): Promise<Look> {
    const { clock, target } = this.#options
    if (this.#session === null || this.#session.isBroken) {
      this.#session = await openSession(target, this.#bounds)
      for (const text of Object.values(scripts)) await this.#session.send(['SCRIPT', 'LOAD', text])
    }
    const session = this.#session
    const at = clock.monotonic()
    const serverTime = timeOf(await session.send(['TIME']))
    this.#compareClock(serverTime - (at + clock.monotonic()) / 2)
    const difference = serverTime - clock.now()
    if (Math.abs(difference) > clockDifferenceMsMax) {
      throw new Error(`its clock differs by ${Math.round(difference)} ms; synchronize the clocks`)
    }
    const { state, fault } = readServerReport(String(await session.send(['INFO'])))
    if (fault !== null) throw new Error(fault)
    const markerId = await this.#mark(session, state, this.#hasJumped)
    this.#hasJumped = false
    return { session, markerId, at }
  }

  /** A jump counts until it is marked: the clock may be right by the next look that counts. */
  #compareClock(offset: number): void {
    const before = this.#clockOffset
    this.#clockOffset = offset
    if (before !== null && Math.abs(offset - before) > clockJumpMsMax) this.#hasJumped = true
  }

  async #mark(session: Session, state: string, isLoss: boolean): Promise<string> {
    const id = Buffer.from(this.#options.random(16)).toString('base64url')
    const flags = [this.#isFirst, isLoss].map((flag) => (flag ? '1' : '0'))
    this.#isFirst = false
    const marked = await runScript(session, 'mark', [this.markerKey], [state, id, ...flags])
    const [markerId, lostAt] = Array.isArray(marked) ? marked.map(String) : []
    if (markerId === undefined || lostAt === undefined || !/^\d+$/.test(lostAt)) {
      throw new Error('its marker cannot be read')
    }
    const at = Number(lostAt) === 0 ? Number.NEGATIVE_INFINITY : Number(lostAt)
    const reported = at + clockDifferenceMsMax
    if (reported > this.#lostAt) {
      this.#lostAt = reported
      this.#options.log('used values may be lost', { reason: `${this.#name()} may have lost them` })
    }
    return markerId
  }

  #name(): string {
    const { host, port } = this.#options.target
    return `Redis at ${host}:${port}`
  }

  #outOfReach(): string {
    return `${this.#name()} cannot be used: ${this.#fault === '' ? 'the connection has ended' : this.#fault}`
  }
}

const scriptIds = {
  mark: hash('sha1', markText, 'hex'),
  claim: hash('sha1', claimText, 'hex'),
  spend: hash('sha1', spendText, 'hex'),
} as const

function runScript(
  session: Session,
  name: keyof typeof scripts,
  keys: readonly string[],
  args: readonly string[],
): Promise<unknown> {
  return session.send(['EVALSHA', scriptIds[name], String(keys.length), ...keys, ...args])
}

function timeOf(answer: unknown): number {
  const [seconds, micros] = Array.isArray(answer) ? answer.map(Number) : []
  const time = (seconds ?? Number.NaN) * 1000 + (micros ?? Number.NaN) / 1000
  if (!Number.isFinite(time)) throw new Error('its time cannot be read')
  return time
}

function textOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
