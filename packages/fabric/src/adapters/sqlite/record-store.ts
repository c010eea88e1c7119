import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Worker } from 'node:worker_threads'
import { FairQueue } from '../../concurrency/fair-queue.ts'
import { startWorker } from '../../concurrency/start-worker.ts'
import type { Clock } from '../../lib/clock.ts'
import {
  type AddedRecord,
  assertRecord,
  type BoundsOfRecords,
  clientOf,
  findEachMax,
  RECORD_BOUNDS,
  RECORD_COLLECTIONS,
  type RecordCollection,
  type RecordStore,
  type StoredRecord,
  tooManyWrites,
} from '../../state/record-store.ts'
import type { Answer, Command, RecordWorkerSettings, Reply } from './record-command.ts'
import { openRecordDatabase, tableOf } from './record-schema.ts'

/** Commands that wait for the writer; above it, callers receive an error. */
const pendingMax = 65_536
/** Of them with the writer, which carries out the batches in their order. */
const postedMax = 1_024

interface SqliteRecordStoreOptions {
  /** Created when absent. Several processes may open it, on one machine. */
  readonly path: string
  readonly clock: Pick<Clock, 'now'>
  readonly bounds?: BoundsOfRecords
  /** Nothing can be written any more, and every write rejects: the process has to start again. */
  readonly onFatal: (error: Error) => void
}

/**
 * Records in one SQLite file. A worker thread, which starts with the first write, writes all
 * commands of one turn of the event loop in one transaction. Reads are made here: with a
 * write-ahead log they wait for no writer, and take less time than a message to a thread.
 *
 * A crash of the process loses nothing; a loss of power may lose the records of the last moments.
 */
export async function openSqliteRecordStore({
  path,
  clock,
  bounds = RECORD_BOUNDS,
  onFatal,
}: SqliteRecordStoreOptions): Promise<RecordStore> {
  const database = openRecordDatabase(path)
  database.exec('PRAGMA query_only = ON')
  const file = new URL('./record-worker.ts', import.meta.url)
  const settings: RecordWorkerSettings = { path, bounds }
  const writer = new RecordWriterThread(() => startWorker(file, 'record-writer', settings), onFatal)
  const readers = new Map(
    RECORD_COLLECTIONS.map((name) => [name, new RecordReader(database, tableOf(name))]),
  )
  const of = (name: RecordCollection): RecordReader => {
    const found = readers.get(name)
    if (found === undefined) throw new RangeError(`no collection of records is named ${name}`)
    return found
  }
  return {
    find: async (name, key) => of(name).find(key, clock.now()),
    async findEach(name, keys) {
      if (keys.length > findEachMax) throw new RangeError(`more than ${findEachMax} keys`)
      const now = clock.now()
      const found = keys.map((key) => [key, of(name).find(key, now)] as const)
      return new Map(found.flatMap(([key, record]) => (record === null ? [] : [[key, record]])))
    },
    async put(collection, key, value, options) {
      assertRecord(key, value, options.owner)
      const now = clock.now()
      return (await writer.ask({ kind: 'put', collection, key, value, now, ...options })) === true
    },
    async remove(collection, key, expected) {
      const now = clock.now()
      const of = expected === undefined ? {} : { expected }
      return (await writer.ask({ kind: 'remove', collection, key, now, ...of })) === true
    },
    added: async (name, after, max) => of(name).added({ after, max, now: clock.now() }),
    async sweep() {
      const now = clock.now()
      if (![...readers.values()].some((reader) => reader.hasExpired(now))) return 0
      return Number(await writer.ask({ kind: 'sweep', now }))
    },
    async close() {
      if (database.isOpen) database.close()
      await writer.close()
    },
  }
}

class RecordReader {
  readonly #find: StatementSync
  readonly #added: StatementSync
  readonly #expired: StatementSync

  constructor(database: DatabaseSync, name: string) {
    this.#find = database.prepare(
      `SELECT r.value, r.expires_at, o.name AS owner
       FROM ${name} r JOIN ${name}_owner o ON o.id = r.owner WHERE r.key = ?`,
    )
    this.#added = database.prepare(
      `SELECT r.sequence, r.key, r.value, r.expires_at, o.name AS owner
       FROM ${name} r JOIN ${name}_owner o ON o.id = r.owner
       WHERE r.sequence > ? AND r.expires_at > ? ORDER BY r.sequence LIMIT ?`,
    )
    this.#expired = database.prepare(`SELECT 1 FROM ${name} WHERE expires_at <= ? LIMIT 1`)
  }

  hasExpired(now: number): boolean {
    return this.#expired.get(now) !== undefined
  }

  find(key: string, now: number): StoredRecord | null {
    const row = this.#find.get(key)
    const leftMs = Number(row?.['expires_at']) - now
    if (row === undefined || leftMs <= 0) return null
    return { value: String(row['value']), owner: String(row['owner']), leftMs }
  }

  added({
    after,
    max,
    now,
  }: {
    readonly after: number
    readonly max: number
    readonly now: number
  }): readonly AddedRecord[] {
    return this.#added.all(after, now, max).map((row) => ({
      sequence: Number(row['sequence']),
      key: String(row['key']),
      value: String(row['value']),
      owner: String(row['owner']),
      leftMs: Number(row['expires_at']) - now,
    }))
  }
}

interface Waiting {
  readonly command: Command
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
}

/**
 * The main thread's side of the writer: gathers a turn's commands, and hands the answers back. The
 * thread starts with the first command: a server that keeps no records does without its memory.
 */
class RecordWriterThread {
  readonly #start: () => Worker
  readonly #onFatal: (error: Error) => void
  #worker: Worker | null = null
  readonly #exited = Promise.withResolvers<void>()
  /** Not yet posted. */
  readonly #outbox = new FairQueue<Waiting>(pendingMax)
  /** The last command, posted once all others are. */
  #closing: Waiting | null = null
  #willPost = false
  /** Posted and unanswered, in order; answers come in the same one. */
  #posted: Waiting[] = []
  #failed: Error | null = null
  #closed = false

  constructor(start: () => Worker, onFatal: (error: Error) => void) {
    this.#start = start
    this.#onFatal = onFatal
  }

  /** Rejects when the effect of `command` is unknown, or there is none. */
  ask(command: Command): Promise<Answer> {
    if (this.#failed !== null) return Promise.reject(this.#failed)
    if (this.#closed) return Promise.reject(new Error('the record store is closed'))
    return new Promise((resolve, reject) => {
      const waiting = { command, resolve, reject }
      if (command.kind === 'close') this.#closing = waiting
      else if (!this.#outbox.push(clientOfCommand(command), waiting)) {
        reject(tooManyWrites(pendingMax))
        return
      }
      this.#postSoon()
    })
  }

  /** One post for everything that this turn writes: fewer messages, larger transactions. */
  #postSoon(): void {
    if (this.#willPost) return
    this.#willPost = true
    setImmediate(() => this.#post())
  }

  async close(): Promise<void> {
    if (this.#closed || this.#failed !== null) return
    // A command of this turn has not started the thread yet, but it will.
    const isIdle = this.#worker === null && this.#outbox.size === 0
    const closed = isIdle ? null : this.ask({ kind: 'close' })
    this.#closed = true
    if (closed === null) return
    await closed
    await this.#exited.promise
  }

  #post(): void {
    this.#willPost = false
    if (this.#failed !== null) return
    const waiting = this.#outbox.take(postedMax - this.#posted.length)
    if (this.#closing !== null && this.#outbox.size === 0) {
      waiting.push(this.#closing)
      this.#closing = null
    }
    if (waiting.length === 0) return
    this.#posted.push(...waiting)
    try {
      // A new thread finds what was posted before it was ready.
      this.#worker ??= this.#started()
      this.#worker.postMessage(waiting.map(({ command }) => command))
    } catch (cause) {
      this.#fail(new Error('the writer of the records cannot be started', { cause }))
    }
  }

  /** Throws when the system has no memory for a thread. */
  #started(): Worker {
    const worker = this.#start()
    worker.on('message', (reply: Reply) => this.#receive(reply))
    worker.on('error', (error: Error) => this.#fail(error))
    worker.on('exit', () => {
      this.#exited.resolve()
      if (!this.#closed) this.#fail(new Error('the writer of the records ended'))
    })
    return worker
  }

  #receive(reply: Reply): void {
    if ('fatal' in reply) return this.#fail(faultOf(reply.fatal, reply.code))
    if ('fault' in reply) {
      const fault = faultOf(reply.fault.message, reply.fault.code)
      for (const { reject } of this.#posted.splice(0, reply.count)) reject(fault)
    } else {
      const answered = this.#posted.splice(0, reply.answers.length)
      for (const [at, { resolve }] of answered.entries()) resolve(reply.answers[at] ?? false)
    }
    if (this.#outbox.size > 0 || this.#closing !== null) this.#postSoon()
  }

  #fail(error: Error): void {
    if (this.#failed !== null) return
    this.#failed = error
    const waiting = [...this.#posted, ...this.#outbox.take(pendingMax)]
    if (this.#closing !== null) waiting.push(this.#closing)
    this.#posted = []
    this.#closing = null
    for (const { reject } of waiting) reject(error)
    this.#onFatal(error)
  }
}

function clientOfCommand(command: Command): string {
  return 'key' in command ? clientOf(command) : command.kind
}

/** With the code of SQLite: `watchStorage` distinguishes a damaged file from a full disk. */
function faultOf(message: string, errcode: number): Error {
  return Object.assign(new Error(message), { code: 'ERR_SQLITE_ERROR', errcode })
}
