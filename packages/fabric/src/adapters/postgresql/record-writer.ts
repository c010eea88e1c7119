import { FairQueue } from '../../concurrency/fair-queue.ts'
import {
  clientOf,
  type RecordCollection,
  type RecordPut,
  tooManyWrites,
} from '../../state/record-store.ts'
import type { PostgresDatabase } from './database.ts'

export type RecordCommand =
  | (RecordPut & {
      readonly kind: 'put'
      readonly collection: RecordCollection
      readonly key: string
      readonly value: string
      readonly perOwnerMax: number
      readonly countMax: number
    })
  | {
      readonly kind: 'remove'
      readonly collection: RecordCollection
      readonly key: string
      readonly expected?: string
    }

/**
 * Commands of one transaction, which others wait for. Each of them changes the same counters once
 * more, so that a larger one takes longer for each.
 */
const batchMax = 128
/** Commands that wait; above it, callers receive an error. */
const pendingMax = 65_536

interface Waiting {
  readonly command: RecordCommand
  readonly resolve: (done: boolean) => void
  readonly reject: (error: unknown) => void
}

/**
 * Writes one batch at a time: everything that was asked while the one before was under way is one
 * transaction. Two at once would only wait for one another's locks.
 */
export class RecordWriter {
  readonly #database: PostgresDatabase
  readonly #sql: string
  readonly #waiting = new FairQueue<Waiting>(pendingMax)
  #isWriting = false
  #isClosed = false

  constructor(database: PostgresDatabase) {
    this.#database = database
    this.#sql = `SELECT ${database.schema}.record_write($1::jsonb) AS answers`
  }

  /** Rejects when the effect is unknown, or there is none. */
  ask(command: RecordCommand): Promise<boolean> {
    if (this.#isClosed) return Promise.reject(new Error('the record store is closed'))
    return new Promise((resolve, reject) => {
      if (!this.#waiting.push(clientOf(command), { command, resolve, reject })) {
        reject(tooManyWrites(pendingMax))
        return
      }
      if (this.#isWriting) return
      this.#isWriting = true
      // Behind this turn of the event loop, whose other commands come along.
      setImmediate(() => void this.#run())
    })
  }

  close(): void {
    this.#isClosed = true
    for (const { reject } of this.#waiting.take(pendingMax)) {
      reject(new Error('the record store is closed'))
    }
  }

  async #run(): Promise<void> {
    while (this.#waiting.size > 0) {
      const batch = this.#waiting.take(batchMax)
      try {
        const answers = await this.#write(batch.map(({ command }) => command))
        for (const [at, { resolve }] of batch.entries()) resolve(answers[at] === true)
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    this.#isWriting = false
  }

  #write(commands: readonly RecordCommand[]): Promise<readonly unknown[]> {
    return this.#database.recordSessions.use(async (session) => {
      session.takeWarnings()
      const { rows } = await session.query(this.#sql, [JSON.stringify(commands)])
      // As when the wait for a synchronous standby was cancelled: durable on one server, so far.
      const [warning] = session.takeWarnings()
      if (warning !== undefined) throw new Error(`PostgreSQL warned of a commit: ${warning}`)
      const answers = rows[0]?.['answers']
      if (!Array.isArray(answers) || answers.length !== commands.length) {
        throw new Error('PostgreSQL did not answer each write of a record')
      }
      return answers
    })
  }
}
