import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { batchEntriesMax } from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import type { Ledger } from './ledger.ts'
import type { EntryPage, OpenedEntry } from './ledger-reads.ts'
import type { LogPruning } from './pruning.ts'
import {
  type StateFile,
  StateFileDamaged,
  type StatePosition,
  type StoredState,
} from './state-file.ts'
import { LedgerBusy } from './unavailable.ts'

/** A state that follows from the entries of one log, in their order, and from nothing else. */
export interface DerivedState {
  /** Takes an entry. Must not throw, whatever the facts are. */
  apply(entry: OpenedEntry): void
  /**
   * The state as lines of text, without line breaks, as it is at the call: entries may be applied
   * before the last line is taken.
   */
  lines(): Iterable<string>
  /** Takes the place of the state. Throws a TypeError on anything but what `lines` gave. */
  restore(lines: Iterable<string>): void
  /**
   * Removes everything that names a principal for whose canonical name `isSubject` is true. Entries
   * may be applied between two steps.
   */
  forget(isSubject: (name: string) => boolean): Iterator<void, void>
}

export interface ConsumerLimits {
  /** Entries that a start reads at most for one consumer. Older ones are left out, and recorded. */
  readonly catchUpEntries: number
  /** Entries of one read while it catches up. */
  readonly pageEntries: number
  /** Beyond so many entries that it has not taken, its state may not decide. */
  readonly behindEntriesMax: number
  /** Between two writes of its state, and the entries after which one begins at the latest. */
  readonly writeMs: number
  readonly writeEntries: number
}

export const consumerLimits: ConsumerLimits = {
  catchUpEntries: 262_144,
  pageEntries: 512,
  behindEntriesMax: 16_384,
  writeMs: 5_000,
  writeEntries: 65_536,
}

/** The reason why a state does not continue from the file that its consumer last wrote. */
export type RebuildReason = 'missing' | 'damaged' | 'other-log' | 'too-old'

export interface Rebuilt {
  readonly name: string
  readonly reason: RebuildReason
  /** Index of the first entry that counts; those before it, which no file covers, do not. */
  readonly from: number
}

export interface ConsumerStatus {
  readonly name: string
  /** Index of the next entry. */
  readonly position: number
  /** Durable entries that it has not taken. */
  readonly behind: number
  /** Entries that could not be opened. */
  readonly skipped: number
  /** The position that its file covers: a start reads on from there. */
  readonly saved: number
}

export interface LogConsumerParts {
  readonly name: string
  readonly ledger: Pick<Ledger, 'read' | 'size' | 'first' | 'onDurable'> & {
    readonly pruning: Pick<LogPruning, 'keepFrom'>
  }
  readonly state: DerivedState
  readonly file: Pick<StateFile, 'read' | 'write' | 'replace'>
  readonly clock: Clock
  readonly limits?: Partial<ConsumerLimits>
  log(event: string, facts: Readonly<Record<string, string | number>>): void
  /** Puts it on record that the state was made anew, before anything is decided by it. */
  recordRebuilt(rebuilt: Rebuilt): Promise<void>
}

/** The state is too far behind its log to decide by it. */
export class ConsumerBehind extends Error {
  override readonly name = 'ConsumerBehind'
}

/** Between two lines of the log while a start catches up. */
const progressEveryMs = 2_000
/** Between two attempts to read a log that many others read. */
const busyPauseMs = 50
/** A state is written for a twentieth of the time at most. */
const writeShare = 20

/**
 * Keeps a state that is derived from the log, across crashes: its file has the position in the log
 * that it covers, and a start reads the entries from there on. Each entry is applied once, in the
 * order of the log, so that the state is that of a process which never ended.
 *
 * An earlier file leads to the same state, by more entries. A file that is missing, is not
 * authentic, or is older than `catchUpEntries` loses what came before; that is recorded.
 */
export class LogConsumer {
  readonly #parts: LogConsumerParts
  readonly #limits: ConsumerLimits
  /** Index of the next entry that is read; those from `#position` on are held back. */
  #next = 0
  /** Entries of a batch whose entry about it has not been read. */
  #stated: OpenedEntry[] = []
  #position = 0
  #last: string | null = null
  #skipped = 0
  #saved = 0
  /** True while entries are read from the log; announced ones are among them. */
  #isReading = false
  #reading: Promise<void> = Promise.resolve()
  #fault: string | null = null
  #stop: () => void = () => undefined
  #timer: ReturnType<typeof setTimeout> | null = null
  #writing: Promise<void> | null = null
  #writeTookMs = 0
  /** The last write failed: the next one waits. */
  #isUnwritable = false
  #isClosed = false

  private constructor(parts: LogConsumerParts) {
    this.#parts = parts
    this.#limits = { ...consumerLimits, ...parts.limits }
  }

  /** Resolves once the state has taken every entry. Rejects where one cannot be read. */
  static async open(parts: LogConsumerParts): Promise<LogConsumer> {
    const consumer = new LogConsumer(parts)
    await consumer.#start()
    return consumer
  }

  get status(): ConsumerStatus {
    const { name, ledger } = this.#parts
    return {
      ...{ name, position: this.#position, behind: ledger.size - this.#position },
      ...{ skipped: this.#skipped, saved: this.#saved },
    }
  }

  /** Throws ConsumerBehind where nothing may be decided by the state. */
  assertCurrent(): void {
    const fault = this.fault()
    if (fault !== null) throw new ConsumerBehind(`${this.#parts.name}: ${fault}`)
  }

  /** Returns why nothing may be decided by the state; null where it may. */
  fault(): string | null {
    if (this.#fault !== null) return this.#fault
    const behind = this.#parts.ledger.size - this.#position
    return behind <= this.#limits.behindEntriesMax
      ? null
      : `${behind} entries of the log are not read yet`
  }

  /**
   * Removes an erased principal from the state, and makes every earlier copy of its file
   * unreadable. Rejects where file or key were not replaced: to be called again, also after a
   * start.
   */
  async forget(isSubject: (name: string) => boolean): Promise<void> {
    // A page that was opened before the erasure still has its facts.
    await this.#reading
    await this.#alone(async () => {
      const steps = this.#parts.state.forget(isSubject)
      while (steps.next().done !== true) await setImmediate()
      const position = this.#position
      await this.#parts.file.replace(this.#covered(), this.#parts.state.lines())
      this.#saved = position
    })
  }

  /** Writes the state, so that the next start reads nothing. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#stop()
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#reading
    await this.#writing
    if (this.#fault === null && this.#position > this.#saved) await this.#write()
  }

  async #start(): Promise<void> {
    const { ledger, recordRebuilt } = this.#parts
    const rebuilt = await this.#restore()
    const stopped = ledger.onDurable((entries) => this.#take(entries))
    // A start reads the entry before that place as well, to compare it.
    const released = ledger.pruning.keepFrom(this.#parts.name, () => Math.max(0, this.#saved - 1))
    this.#stop = () => {
      stopped()
      released()
    }
    try {
      await this.#catchUp()
      if (rebuilt !== null) await recordRebuilt(rebuilt)
      // The next start must not find the same.
      if (rebuilt !== null) await this.#write()
    } catch (cause) {
      this.#stop()
      throw cause
    }
  }

  /** Returns what is lost; null where every entry counts. */
  async #restore(): Promise<Rebuilt | null> {
    const { name, ledger, log } = this.#parts
    const floor = Math.max(ledger.first, ledger.size - this.#limits.catchUpEntries)
    const found = await this.#readFile()
    const isOld = typeof found !== 'string' && found.position < floor
    const reason = typeof found === 'string' ? found : isOld ? 'too-old' : null
    if (typeof found !== 'string') {
      this.#position = found.position
      this.#next = found.position
      this.#last = found.last
      this.#skipped = found.skipped
      this.#saved = found.position
    }
    if (reason === null) return null
    this.#position = Math.max(this.#position, floor)
    this.#next = this.#position
    // Without a file, and with every entry in reach, nothing is lost.
    if (reason === 'missing' && floor === 0) return null
    const rebuilt = { name, reason, from: this.#position }
    log('a state is made anew from the log', rebuilt)
    return rebuilt
  }

  async #readFile(): Promise<StoredState | RebuildReason> {
    const { file, state, ledger } = this.#parts
    try {
      const found = await file.read()
      if (found === null) return 'missing'
      if (found.position > ledger.size || !(await this.#isOfThisLog(found))) return 'other-log'
      state.restore(found.lines)
      return found
    } catch (cause) {
      const isDamaged = cause instanceof StateFileDamaged || cause instanceof TypeError
      if (!isDamaged && !(cause instanceof SyntaxError)) throw cause
      return 'damaged'
    }
  }

  /** A log that was restored from a backup may have other entries at the same place. */
  async #isOfThisLog({ position, last }: StoredState): Promise<boolean> {
    // The entry before was pruned: the position is too old, if it is of this log.
    if (position <= this.#parts.ledger.first) return true
    const { name, ledger } = this.#parts
    const { entries } = await ledger.read(position - 1, 1, name)
    return entries[0]?.exchange === last
  }

  #take(entries: readonly OpenedEntry[]): void {
    if (this.#isReading || this.#fault !== null) return
    for (const entry of entries) {
      if (entry.index < this.#next) continue
      if (entry.index > this.#next) {
        // Entries that were appended in another way are in the log.
        this.#reading = this.#catchUp().catch((cause: unknown) => this.#fail(cause))
        return
      }
      try {
        this.#apply(entry)
      } catch (cause) {
        // The ledger goes on; nothing is decided by this state any more.
        this.#fail(cause)
        return
      }
    }
    this.#schedule()
  }

  async #catchUp(): Promise<void> {
    const { ledger, clock, log, name } = this.#parts
    this.#isReading = true
    let loggedAt = clock.monotonic()
    while (this.#next < ledger.size) {
      const page = await this.#readPage()
      if (page === null) continue
      const { entries } = page
      if (entries.length === 0) throw new Error(`the log ends at entry ${this.#next}`)
      for (const entry of entries) this.#apply(entry)
      if (clock.monotonic() - loggedAt < progressEveryMs) continue
      loggedAt = clock.monotonic()
      log('reading the ledger', { for: name, entries: this.#next, total: ledger.size })
    }
    // Nothing is awaited between the last comparison and this, so no announced entry is missed.
    this.#isReading = false
    this.#schedule()
  }

  /** Null where too many others read the log at the moment. */
  async #readPage(): Promise<EntryPage | null> {
    const { ledger, name } = this.#parts
    try {
      return await ledger.read(this.#next, this.#limits.pageEntries, name)
    } catch (cause) {
      if (!(cause instanceof LedgerBusy) || this.#isClosed) throw cause
      await sleep(busyPauseMs)
      return null
    }
  }

  /**
   * The entries of a connector count at the time of the entry about their batch, which is the
   * fabric's: by times that it states it could spread a burst, or make a risk fade.
   */
  #apply(entry: OpenedEntry): void {
    this.#next = entry.index + 1
    if (entry.kind !== 'batch' && isOfBatch(entry, this.#stated)) {
      this.#stated.push(entry)
      return
    }
    const at = entry.kind === 'batch' ? { at: entry.at } : {}
    for (const stated of this.#stated.splice(0)) this.#applyNow({ ...stated, ...at })
    this.#applyNow(entry)
  }

  #applyNow(entry: OpenedEntry): void {
    // An entry always has a fact; one without any was erased.
    if (Object.keys(entry.facts).length === 0) this.#skipped += 1
    else this.#parts.state.apply(entry)
    this.#position = entry.index + 1
    this.#last = entry.exchange
  }

  #fail(cause: unknown): void {
    const { name, log } = this.#parts
    log('a state cannot follow the ledger', { for: name, error: String(cause) })
    this.#fault = 'it cannot follow the log any more; restart the fabric'
  }

  #schedule(): void {
    if (this.#isClosed || this.#writing !== null || this.#position === this.#saved) return
    const { writeMs, writeEntries } = this.#limits
    if (this.#position - this.#saved >= writeEntries && !this.#isUnwritable) {
      if (this.#timer !== null) clearTimeout(this.#timer)
      this.#timer = null
      void this.#write()
      return
    }
    const waitMs = Math.max(writeMs, this.#writeTookMs * writeShare)
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      void this.#write()
    }, waitMs).unref()
  }

  /** A failed write leaves the earlier file, from which a start has more to read. */
  #write(): Promise<void> {
    const { state, file, clock, log, name } = this.#parts
    return this.#alone(async () => {
      const began = clock.monotonic()
      const position = this.#position
      try {
        await file.write(this.#covered(), state.lines())
        this.#saved = position
        this.#isUnwritable = false
      } catch (error) {
        this.#isUnwritable = true
        log('a state was not saved', { of: name, error: String(error) })
      }
      this.#writeTookMs = clock.monotonic() - began
    })
  }

  #covered(): StatePosition {
    return { position: this.#position, last: this.#last, skipped: this.#skipped }
  }

  /** Two writers of one file would damage it. */
  async #alone(work: () => Promise<void>): Promise<void> {
    while (this.#writing !== null) await this.#writing
    const working = work()
    this.#writing = working.catch(() => undefined)
    try {
      await working
    } finally {
      this.#writing = null
      this.#schedule()
    }
  }
}

/** One that was erased names no producer, and is between others of its batch. */
function isOfBatch({ facts }: OpenedEntry, before: readonly OpenedEntry[]): boolean {
  if (before.length >= batchEntriesMax) return false
  const isErased = Object.keys(facts).length === 0
  return facts['producer'] !== undefined || (isErased && before.length > 0)
}
