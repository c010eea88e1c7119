import type { DatabaseSync } from 'node:sqlite'
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import type { Answer, Command, RecordWorkerSettings, Reply } from './record-command.ts'
import { openRecordDatabase } from './record-schema.ts'
import { RecordTables } from './record-tables.ts'

/** Batches that one transaction takes: it bounds how long the first one waits for the others. */
const batchesMax = 64

/**
 * The writer's thread: checkpoints and waits for other processes happen here, and not on the event
 * loop. It takes everything that waits at its port into one transaction, and answers all of it
 * after the COMMIT.
 */
class RecordWriter {
  readonly #port: MessagePort
  readonly #database: DatabaseSync
  readonly #tables: RecordTables

  constructor(port: MessagePort, { path, bounds }: RecordWorkerSettings) {
    this.#port = port
    this.#database = openRecordDatabase(path)
    this.#tables = new RecordTables(this.#database, bounds)
  }

  take(first: readonly Command[]): void {
    const commands = [...first]
    for (let batches = 1; batches < batchesMax; batches++) {
      const next = receiveMessageOnPort(this.#port)
      if (next === undefined) break
      commands.push(...(next.message as readonly Command[]))
    }
    this.#port.postMessage(this.#carryOut(commands))
    if (commands.every(({ kind }) => kind !== 'close')) return
    this.#database.close()
    this.#port.close()
  }

  /** All commands take effect, or none, as on a full disk: a later batch may succeed. */
  #carryOut(commands: readonly Command[]): Reply {
    const isDurable = commands.some((command) => command.kind === 'put' && command.durable)
    try {
      // With a write-ahead log, FULL syncs it at the COMMIT, and all that was written before.
      if (isDurable) this.#database.exec('PRAGMA synchronous = FULL')
      // The lock is taken before the first read, so that nothing changes between check and write.
      this.#database.exec('BEGIN IMMEDIATE')
      const answers = commands.map((command) => this.#answer(command))
      this.#database.exec('COMMIT')
      return { answers }
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      return { count: commands.length, fault: faultOf(error) }
    } finally {
      if (isDurable) this.#database.exec('PRAGMA synchronous = NORMAL')
    }
  }

  #answer(command: Command): Answer {
    switch (command.kind) {
      case 'put':
        return this.#tables.put(command)
      case 'remove':
        return this.#tables.remove(command)
      case 'sweep':
        return this.#tables.sweep(command.now)
      case 'close':
        return true
    }
  }
}

function faultOf(error: unknown): { readonly message: string; readonly code: number } {
  const message = error instanceof Error ? error.message : String(error)
  const code = error instanceof Error && 'errcode' in error ? Number(error.errcode) : 0
  return { message, code }
}

function start(port: MessagePort, settings: RecordWorkerSettings): void {
  const fail = (error: unknown): void => {
    const { message, code } = faultOf(error)
    port.postMessage({ fatal: message, code } satisfies Reply)
    port.close()
  }
  try {
    const writer = new RecordWriter(port, settings)
    port.on('message', (batch: readonly Command[]) => {
      try {
        writer.take(batch)
      } catch (error) {
        fail(error)
      }
    })
  } catch (error) {
    fail(error)
  }
}

if (parentPort === null) throw new Error('the record writer runs in a worker thread')
start(parentPort, workerData as RecordWorkerSettings)
