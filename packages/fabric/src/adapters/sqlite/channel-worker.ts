import { closeSync, fdatasyncSync, openSync } from 'node:fs'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import type { Answers, Batch, Command, Reply, Span, WorkerSettings } from './channel-command.ts'
import { ChannelLog, type LeasedMessage } from './channel-log.ts'
import { closeChannelDatabase, openChannelDatabase } from './channel-schema.ts'
import { ChannelSweep } from './channel-sweep.ts'
import { vacuumInto } from './snapshot.ts'

/** Batches that one transaction takes: it bounds how long the first one waits for the others. */
const batchesMax = 64
/** Written since the last checkpoint; above it the log is copied without waiting for the timer. */
const walBytesMax = 64 * 1024 * 1024
/** One page of the log for each row that changes. */
const bytesOfChange = 4_096

/**
 * The writer's thread. It takes everything that waits at its port into one transaction and answers
 * all of it after the COMMIT, so that one fsync serves every waiting command. Any error ends it:
 * after a failed write or fsync the content of the file is unknown, and only a new start may look.
 */
class ChannelWriter {
  readonly #port: MessagePort
  readonly #settings: WorkerSettings
  readonly #logFile: LogFile
  readonly #database: DatabaseSync
  readonly #log: ChannelLog
  readonly #sweep: ChannelSweep
  readonly #packer = new Packer()
  #bytesSinceCheckpoint = 0
  /** True while each COMMIT waits for the disk. */
  #isSynced = true
  /** Transactions that wrote, and waited for the disk. */
  #syncs = 0
  #changes = 0
  readonly #totalChanges: StatementSync
  #checkpoints = 0
  #closing = false

  constructor(port: MessagePort, settings: WorkerSettings) {
    this.#port = port
    this.#settings = settings
    this.#database = openChannelDatabase(settings)
    this.#logFile = new LogFile(settings.path)
    this.#log = new ChannelLog(this.#database)
    this.#sweep = new ChannelSweep(this.#database, this.#log)
    this.#totalChanges = this.#database.prepare('SELECT total_changes() AS changes')
  }

  take(first: Batch): void {
    const batches = [first]
    while (batches.length < batchesMax) {
      const next = receiveMessageOnPort(this.#port)
      if (next === undefined) break
      batches.push(next.message as Batch)
    }
    const answers: Answers[keyof Answers][] = []
    const snapshots: { readonly at: number; readonly path: string }[] = []
    let swept = false
    this.#requireSync(!batches.every(isLease))
    this.#database.exec('BEGIN IMMEDIATE')
    for (const { commands, blob } of batches) {
      this.#bytesSinceCheckpoint += blob.byteLength
      for (const command of commands) {
        answers.push(this.#carryOut(command, blob))
        swept ||= command.kind === 'sweep'
        if (command.kind === 'snapshot') {
          snapshots.push({ at: answers.length - 1, path: command.path })
        }
      }
    }
    this.#log.flush()
    this.#database.exec('COMMIT')
    const changes = Number(this.#totalChanges.get()?.['changes'])
    const hasBuried = this.#log.takeBuried()
    if (!this.#isSynced && hasBuried) this.#logFile.sync()
    if (changes !== this.#changes && (this.#isSynced || hasBuried)) this.#syncs++
    // Leases and settlements come without bytes, and fill the log all the same.
    this.#bytesSinceCheckpoint += (changes - this.#changes) * bytesOfChange
    this.#changes = changes
    // Between two transactions, so that a copy has all of this one and nothing of the next.
    for (const { at, path } of snapshots) answers[at] = vacuumInto(this.#database, path)
    // Nothing is answered before this line, and everything answered after it is on the disk,
    // except leases.
    const blob = this.#packer.take()
    if (this.#closing) {
      closeChannelDatabase(this.#database)
      this.#logFile.close()
    }
    this.#port.postMessage({ answers, blob } satisfies Reply, [blob])
    if (this.#closing) this.#port.close()
    else if (swept || this.#bytesSinceCheckpoint > walBytesMax) this.#checkpoint()
  }

  /**
   * A lease need not survive a power loss: its messages are free again then, the attempt is not
   * counted, and its token settles nothing. The next commit that is synced takes it to the disk,
   * since both stand in one log. A dead letter is synced before the lease is answered, because the
   * record states it.
   */
  #requireSync(isSynced: boolean): void {
    if (isSynced === this.#isSynced || this.#settings.synchronous === 'NORMAL') return
    this.#database.exec(`PRAGMA synchronous = ${isSynced ? 'FULL' : 'NORMAL'}`)
    this.#isSynced = isSynced
  }

  #carryOut(command: Command, blob: ArrayBuffer): Answers[keyof Answers] {
    switch (command.kind) {
      case 'publish':
        return command.items.map(({ limits, sealed, ...order }) =>
          this.#log.publish({ ...order, sealed: view(blob, sealed) }, limits),
        )
      case 'lease': {
        const found = this.#log.lease(command.order, command.token, command.limits)
        const items = found.messages.map((message) => this.#packer.pack(message))
        return { items, goesOn: found.goesOn }
      }
      case 'settle':
        return command.items.map(({ attemptsMax, ...item }) => this.#log.settle(item, attemptsMax))
      case 'dead':
        return this.#log.dead(command.channel, command.countMax)
      case 'find': {
        const found = this.#log.find(command.channel, command.offset)
        return found === null ? null : this.#packer.pack(found)
      }
      case 'redrive':
        return this.#log.redrive(command)
      case 'stats':
        return this.#log.stats()
      case 'sweep': {
        const removed = this.#sweep.run(command)
        return { removed, syncs: this.#syncs, checkpoints: this.#checkpoints }
      }
      case 'snapshot':
        // Made after the commit.
        return null
      case 'close':
        this.#closing = true
        return null
    }
  }

  #checkpoint(): void {
    if (this.#bytesSinceCheckpoint === 0) return
    const mode = this.#bytesSinceCheckpoint > walBytesMax ? 'TRUNCATE' : 'PASSIVE'
    this.#database.exec(`PRAGMA wal_checkpoint(${mode})`)
    this.#bytesSinceCheckpoint = 0
    this.#checkpoints++
  }
}

const leaseKinds: ReadonlySet<Command['kind']> = new Set(['lease', 'find', 'dead', 'stats'])

/** Reports whether nothing in it has to survive a power loss. */
function isLease({ commands }: Batch): boolean {
  return commands.every(({ kind }) => leaseKinds.has(kind))
}

/** The database's log, to be synced by ourselves. SQLite holds no lock on this file. */
class LogFile {
  readonly #path: string
  #descriptor: number | null = null

  constructor(databasePath: string) {
    this.#path = `${databasePath}-wal`
  }

  sync(): void {
    this.#descriptor ??= openSync(this.#path, 'r+')
    fdatasyncSync(this.#descriptor)
  }

  close(): void {
    if (this.#descriptor !== null) closeSync(this.#descriptor)
    this.#descriptor = null
  }
}

/** Gathers the bytes of all answers in one buffer, which then changes hands without a copy. */
class Packer {
  #parts: Uint8Array[] = []
  #length = 0

  pack(message: LeasedMessage): Omit<LeasedMessage, 'sealed'> & { readonly sealed: Span } {
    const { sealed, ...rest } = message
    const span = { at: this.#length, length: sealed.length }
    this.#parts.push(sealed)
    this.#length += sealed.length
    return { ...rest, sealed: span }
  }

  take(): ArrayBuffer {
    const bytes = new Uint8Array(this.#length)
    let at = 0
    for (const part of this.#parts) {
      bytes.set(part, at)
      at += part.length
    }
    this.#parts = []
    this.#length = 0
    return bytes.buffer
  }
}

function view(blob: ArrayBuffer, { at, length }: Span): Uint8Array {
  return new Uint8Array(blob, at, length)
}

function start(port: MessagePort, settings: WorkerSettings): void {
  const fail = (error: unknown) => {
    port.postMessage({
      fatal: error instanceof Error ? error.message : String(error),
    } satisfies Reply)
    port.close()
  }
  try {
    const writer = new ChannelWriter(port, settings)
    port.on('message', (batch: Batch) => {
      try {
        writer.take(batch)
      } catch (error) {
        fail(error)
      }
    })
    port.postMessage({ ready: true } satisfies Reply)
  } catch (error) {
    fail(error)
  }
}

if (parentPort === null) throw new Error('the channel writer runs in a worker thread')
start(parentPort, workerData as WorkerSettings)
