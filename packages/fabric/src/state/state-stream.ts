import { ListenerSet } from '@countersign/protocol'
import { Serializer } from '../concurrency/serializer.ts'
import { type Clock, setDeadline } from '../lib/clock.ts'
import { type Authority, becomeFresh, StaleAuthority } from './authority.ts'
import { Projection, type ProjectionOptions } from './projection.ts'
import { StateRows } from './state-rows.ts'
import {
  type ChangedRow,
  isStateTable,
  type Revision,
  type StateChange,
  type StateCommit,
  type StateStore,
  type StateTable,
} from './state-store.ts'

export interface StreamLimits {
  /** Beyond it, a decision first waits for a read. More than `pollMs`, so that it seldom waits. */
  readonly currentMs: number
  /** A projection that was not read for longer does not decide. */
  readonly staleMs: number
  /** Between two reads without a hint. */
  readonly pollMs: number
  /** Of one answer to a reader that follows, after which the read has failed. */
  readonly readMs: number
  /** Likewise of all rows. */
  readonly readAllMs: number
  /** Of one commit, after which its outcome is unknown. */
  readonly commitMs: number
  /** Of one change that loses to the changes of others. */
  readonly attempts: number
  /** Of one answer of the store. */
  readonly rowsPerRead: number
}

export const streamLimits: StreamLimits = {
  currentMs: 250,
  staleMs: 2_000,
  pollMs: 200,
  readMs: 1_000,
  readAllMs: 30_000,
  commitMs: 10_000,
  attempts: 16,
  rowsPerRead: 1_000,
}

/** Answers until a reader has caught up; a store keeps fewer rows of history than they hold. */
const answersPerReadMax = 64

/** Calls of the store that have not settled, though their time is over. */
const unsettledMax = 16

export interface StateStreamDeps {
  readonly store: StateStore
  readonly clock: Pick<Clock, 'monotonic'>
  /** Called once when the stream can no longer be followed: the process must end. */
  onFatal(cause: unknown): void
  /** Called for the first read that fails after one that did not. */
  onReadFault?(cause: unknown): void
  /** Called for the first read that succeeds after one that failed. */
  onReadAgain?(): void
  /** Called after the first read of another history than the one before. */
  onHistory?(): void
  readonly limits?: Partial<StreamLimits>
}

/** Computes changes from the present projections; null if their condition is gone. */
export type MakeChanges = () =>
  | readonly StateChange[]
  | null
  | Promise<readonly StateChange[] | null>

type Follow = (rows: readonly ChangedRow[]) => () => void

/**
 * The state as this process knows it: the store, the revision that was read, and one projection for
 * each table. Every change takes effect in memory only by being read back, those of this process as
 * well, so that all processes apply the same commits in the same order.
 */
export class StateStream implements Authority {
  readonly #deps: StateStreamDeps
  readonly #limits: StreamLimits
  readonly #writes = new Serializer()
  readonly #rows = new StateRows()
  readonly #followers = new Map<StateTable, Follow>()
  readonly #stale = new ListenerSet()
  #revision: Revision = 0
  /** Monotonic time before the last successful read was sent. */
  #readAt = Number.NEGATIVE_INFINITY
  #reading: Promise<void> | null = null
  #readsAgain = false
  #isFailing = false
  #readHistory = ''
  #unsettled = 0
  #end: Error | null = null
  #timer: NodeJS.Timeout | undefined
  #stopWakes: () => void = () => undefined

  private constructor(deps: StateStreamDeps) {
    this.#deps = deps
    this.#limits = { ...streamLimits, ...deps.limits }
  }

  /** Reads the whole state. Rejects if that is not possible; the store is then still open. */
  static async open(deps: StateStreamDeps): Promise<StateStream> {
    const stream = new StateStream(deps)
    await stream.#readAll()
    stream.#readHistory = stream.history
    stream.#stopWakes = deps.store.onWake(() => stream.#wake())
    stream.#timer = setInterval(() => {
      if (stream.#reading === null) stream.#wake()
    }, stream.#limits.pollMs).unref()
    return stream
  }

  get revision(): Revision {
    return this.#revision
  }

  /** The projection of one table, once. Throws when a row of it makes no sense. */
  project<Value>(options: ProjectionOptions<Value>): Projection<Value> {
    const { table } = options
    if (this.#followers.has(table)) throw new TypeError(`${table} is projected twice`)
    const projection = new Projection(options, this.#rows.of(table))
    this.#followers.set(table, (rows) => {
      const changes = rows.map((row) => projection.apply(row))
      return () => projection.notify(changes)
    })
    return projection
  }

  /** As `StateStore.history`. */
  get history(): string {
    return this.#deps.store.history()
  }

  isCurrent(): boolean {
    return this.#isWithin(this.#limits.currentMs)
  }

  isFresh(): boolean {
    return this.#isWithin(this.#limits.staleMs)
  }

  /** Called after each read that failed while the state is too old to decide by it. */
  onStale(listener: () => void): () => void {
    return this.#stale.add(listener)
  }

  async refresh(): Promise<void> {
    if (this.#reading !== null) {
      await this.#reading
      // A read that was sent before a pause of the process is too old as well.
      if (this.isCurrent()) return
    }
    await this.#read()
  }

  /**
   * Commits what `make` computes, and resolves to true when the projections show it; to false if
   * `make` returned null. `make` runs again when another process was faster. All commits of this
   * process take turns, so `make` may wait, and must not wait for another commit.
   *
   * Rejects when other processes were faster too often, and when the outcome is unknown. The
   * change is then never repeated: the projections show whether it is there.
   */
  commit(make: MakeChanges): Promise<boolean> {
    return this.#writes.run(async () => {
      for (let attempt = 0; attempt < this.#limits.attempts; attempt += 1) {
        await becomeFresh(this)
        const changes = await make()
        if (changes === null) return false
        const revision = await this.#commitOnce(changes)
        if (revision === null) {
          await this.#read()
          continue
        }
        await this.#reach(revision)
        return true
      }
      const lost = `other processes changed the same state during ${this.#limits.attempts} attempts`
      throw new Error(`${lost}; nothing was written, so try again`)
    })
  }

  /** Stops following and closes the store. */
  async close(): Promise<void> {
    this.#end ??= new Error('the state is closed')
    clearInterval(this.#timer)
    this.#stopWakes()
    await this.#deps.store.close()
  }

  #isWithin(ms: number): boolean {
    return this.#end === null && this.#deps.clock.monotonic() - this.#readAt <= ms
  }

  async #commitOnce(changes: readonly StateChange[]): Promise<Revision | null> {
    try {
      return await this.#within(this.#limits.commitMs, () => this.#deps.store.commit(changes))
    } catch (cause) {
      // It may have taken effect, and must then do so here before the caller goes on.
      await this.#read().catch(() => undefined)
      throw cause
    }
  }

  /** Reads until an own commit is applied. */
  async #reach(revision: Revision): Promise<void> {
    // One that is under way may have been sent before the commit.
    await this.#reading?.catch(() => undefined)
    if (this.#revision < revision) await this.#read()
    if (this.#revision < revision) throw new Error('the store lost a commit that it had confirmed')
  }

  #read(): Promise<void> {
    this.#reading ??= this.#catchUp().finally(() => {
      this.#reading = null
      if (!this.#readsAgain) return
      this.#readsAgain = false
      this.#wake()
    })
    return this.#reading
  }

  async #catchUp(): Promise<void> {
    try {
      if (this.#end !== null) throw this.#end
      await this.#readChanges()
      if (this.#readHistory !== this.history) this.#deps.onHistory?.()
      this.#readHistory = this.history
      if (this.#isFailing) this.#deps.onReadAgain?.()
      this.#isFailing = false
    } catch (cause) {
      if (!this.#isFailing && this.#end === null) this.#deps.onReadFault?.(cause)
      this.#isFailing = true
      if (!this.isFresh()) this.#stale.notify()
      throw new StaleAuthority(cause)
    }
  }

  async #readChanges(): Promise<void> {
    const { readMs, rowsPerRead } = this.#limits
    for (let answers = 0; answers < answersPerReadMax; answers += 1) {
      const sentAt = this.#deps.clock.monotonic()
      const changes = await this.#within(readMs, () =>
        this.#deps.store.changes(this.#revision, rowsPerRead),
      )
      if (changes === null) {
        await this.#readAll()
        return
      }
      for (const commit of changes.commits) this.#apply(commit, this.#revision + 1)
      if (changes.commits.length === 0) {
        this.#readAt = sentAt
        return
      }
    }
    throw new Error('the state changes faster than it can be read')
  }

  /** At the start, and when the history no longer reaches back to what was read. */
  async #readAll(): Promise<void> {
    const sentAt = this.#deps.clock.monotonic()
    const { readAllMs } = this.#limits
    const { revision, rows } = await this.#within(readAllMs, () => this.#deps.store.read())
    this.#apply({ revision, changes: this.#rows.differenceTo(rows) }, revision)
    this.#readAt = sentAt
  }

  /**
   * A commit that cannot be applied ends the process: skipping it could skip a revocation, and so
   * could a listener that failed in the middle.
   */
  #apply({ revision, changes }: StateCommit, due: Revision): void {
    try {
      if (revision !== due) throw new Error(`the state has commit ${revision} where ${due} is due`)
      const byTable = new Map<StateTable, ChangedRow[]>()
      for (const row of changes) {
        if (!isStateTable(row.table))
          throw new Error(`the state has an unknown table ${String(row.table)}`)
        this.#rows.apply(row)
        const rows = byTable.get(row.table) ?? []
        byTable.set(row.table, rows)
        rows.push(row)
      }
      const notify = [...byTable].map(([table, rows]) => this.#followers.get(table)?.(rows))
      this.#revision = revision
      for (const each of notify) each?.()
    } catch (cause) {
      if (this.#end === null) {
        this.#end = new Error('the state cannot be followed', { cause })
        this.#deps.onFatal(cause)
      }
      throw cause
    }
  }

  #wake(): void {
    // A commit that was announced during a read may not be in its answer.
    if (this.#reading !== null) this.#readsAgain = true
    else if (this.#end === null) this.#read().catch(() => undefined)
  }

  /** Settles within `ms`. A later answer of the store is ignored: it is read again. */
  async #within<Result>(ms: number, call: () => Promise<Result>): Promise<Result> {
    if (this.#unsettled >= unsettledMax) {
      throw new Error(`the state store has not answered ${unsettledMax} calls`)
    }
    this.#unsettled += 1
    const settled = call().finally(() => {
      this.#unsettled -= 1
    })
    const { promise: late, reject } = Promise.withResolvers<never>()
    const cancel = setDeadline(ms, () => {
      reject(new Error(`the state store has not answered for ${ms} ms`))
    })
    try {
      const result = await Promise.race([settled, late])
      if (this.#end !== null) throw this.#end
      return result
    } finally {
      cancel()
    }
  }
}
