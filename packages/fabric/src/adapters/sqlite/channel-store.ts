import { closeSync, fsyncSync, openSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import type { ChannelStore, PublishCommand, StoredMessage } from '../../channels/channel-store.ts'
import { startWorker } from '../../concurrency/start-worker.ts'
import type { Clock } from '../../lib/clock.ts'
import { SnapshotFault } from '../../lib/durable-file.ts'
import { makeFolder } from '../../lib/named-path.ts'
import type { Random } from '../../lib/random.ts'
import type {
  Answers,
  Batch,
  ChannelLimits,
  Command,
  LeasedItem,
  PublishItem,
  Reply,
  Span,
  SweepReport,
  WorkerSettings,
} from './channel-command.ts'

export const CHANNEL_LIMITS_DEFAULT: ChannelLimits = {
  messagesMax: 1_000_000,
  bytesMax: 4 * 1024 * 1024 * 1024,
  attemptsMax: 5,
  dedupMs: 10 * 60 * 1000,
}

/**
 * Commands that may wait for the writer; above it, callers receive an error that nothing can be
 * promised.
 */
const pendingMax = 65_536
const sweepMsDefault = 1000
/** After a sweep that found this much there is more; others' commands get in between two rounds. */
const sweepAgainFrom = 1000
const sweepRoundsMax = 50
/**
 * Of one lease that finds nothing but messages which wait for others, each in a transaction of its
 * own.
 */
const leaseScansMax = 64
const deadRetentionMsDefault = 7 * 24 * 60 * 60 * 1000
/** NFS, SMB and CIFS (statfs(2)): their locks and fsyncs do not mean what SQLite needs. */
const networkFileSystems: ReadonlySet<number> = new Set([0x6969, 0x517b, 0xff534d42, 0xfe534d42])

/** For the crash test that shows what a store without fsync on every commit loses. */
export const dangerouslyLoseAcknowledged: unique symbol = Symbol('lose acknowledged messages')

export interface SqliteChannelStoreOptions {
  /** Made when it does not exist; the store's files are the only ones in it. */
  readonly directory: string
  readonly clock: Clock
  readonly random: Random
  /** The file cannot be trusted any more and every call rejects; the process has to start again. */
  readonly onFatal: (error: Error) => void
  readonly limitsOf?: (channel: string) => ChannelLimits
  /** Between sweeps, each of which ends with a checkpoint. */
  readonly sweepMs?: number
  readonly deadRetentionMs?: number
  readonly [dangerouslyLoseAcknowledged]?: boolean
}

export interface SqliteChannelStore extends ChannelStore {
  /** One round of the sweeper and a checkpoint, as the timer does it. */
  sweep(): Promise<SweepReport>
}

/**
 * Durable channels in one SQLite file, written by one worker thread with group commit. Rejects when
 * the file is damaged, in use, or on a file system that does not keep its promises.
 */
export async function openSqliteChannelStore(
  options: SqliteChannelStoreOptions,
): Promise<SqliteChannelStore> {
  const { directory } = options
  makeFolder(directory)
  if (networkFileSystems.has(statfsSync(directory).type)) {
    throw new Error('channels cannot be kept on a network file system')
  }
  const settings = {
    path: join(directory, 'channels.sqlite'),
    synchronous: options[dangerouslyLoseAcknowledged] === true ? 'NORMAL' : 'FULL',
  } as const
  const writer = await WriterThread.start(settings, options.onFatal)
  // The file's name and its log's are in the directory, which has a write cache of its own.
  syncDirectory(directory)
  return createStore(writer, options)
}

function createStore(writer: WriterThread, options: SqliteChannelStoreOptions): SqliteChannelStore {
  const limitsOf = options.limitsOf ?? (() => CHANNEL_LIMITS_DEFAULT)
  const deadRetentionMs = options.deadRetentionMs ?? deadRetentionMsDefault
  const sweep = async () => {
    const command = { kind: 'sweep', now: options.clock.now(), deadRetentionMs } as const
    return (await writer.ask('sweep', command)).answer
  }
  let sweeping = false
  const sweepAll = async () => {
    if (sweeping) return
    sweeping = true
    for (let round = 0; round < sweepRoundsMax; round++) {
      const { removed } = await sweep()
      if (removed < sweepAgainFrom) break
    }
    sweeping = false
  }
  // A failed sweep has already been reported as fatal.
  const timer = setInterval(
    () => void sweepAll().catch(() => undefined),
    options.sweepMs ?? sweepMsDefault,
  )
  timer.unref()
  return {
    async publish(orders) {
      const { items, sealed } = toItems(orders, limitsOf)
      return (await writer.ask('publish', { kind: 'publish', items }, sealed)).answer
    },
    async lease(order) {
      const token = Buffer.from(options.random(16)).toString('base64url')
      const limits = limitsOf(order.channel)
      for (let scans = 1; ; scans++) {
        const command = { kind: 'lease', order, token, limits } as const
        const { answer, blob } = await writer.ask('lease', command)
        if (answer.items.length === 0 && answer.goesOn && scans < leaseScansMax) continue
        return answer.items.map((item) => ({
          message: toStored(order.channel, item, blob),
          attempt: item.attempt,
          place: item.place,
          leaseToken: token,
          leaseUntil: order.now + order.leaseMs,
        }))
      }
    },
    async settle(orders) {
      const items = orders.map((order) => ({
        ...order,
        attemptsMax: limitsOf(order.channel).attemptsMax,
      }))
      return (await writer.ask('settle', { kind: 'settle', items })).answer
    },
    dead: async (channel, countMax) =>
      (await writer.ask('dead', { kind: 'dead', channel, countMax })).answer,
    async find(channel, offset) {
      const { answer, blob } = await writer.ask('find', { kind: 'find', channel, offset })
      return answer === null ? null : toStored(channel, answer, blob)
    },
    redrive: async (channel, group, offset, now) =>
      (await writer.ask('redrive', { kind: 'redrive', channel, group, offset, now })).answer,
    stats: async () => (await writer.ask('stats', { kind: 'stats' })).answer,
    snapshot: (path) => writer.snapshot(path),
    sweep,
    async close() {
      clearInterval(timer)
      await writer.close()
    },
  }
}

/** One caller's part of the next batch. */
interface Waiting {
  readonly command: Command
  readonly sealed: readonly Uint8Array[]
  readonly resolve: (settled: { answer: Answers[keyof Answers]; blob: ArrayBuffer }) => void
  readonly reject: (error: Error) => void
}

/** The main thread's side of the writer: gathers a turn's commands, and hands the answers back. */
class WriterThread {
  readonly #worker: Worker
  readonly #ready = Promise.withResolvers<void>()
  /** The thread has the file, and its lock, until then. */
  readonly #exited = Promise.withResolvers<void>()
  /** Until the writer is ready, the only party to notify is the caller that opens it. */
  #onFatal: (error: Error) => void = () => undefined
  /** Not yet posted, in order. */
  #outbox: Waiting[] = []
  /** Posted and unanswered, in order; answers come in the same one. */
  #posted: Waiting[] = []
  #fatal: Error | null = null
  #closed = false

  static async start(
    settings: WorkerSettings,
    onFatal: (error: Error) => void,
  ): Promise<WriterThread> {
    const file = new URL('./channel-worker.ts', import.meta.url)
    const worker = startWorker(file, 'channel-writer', settings)
    const writer = new WriterThread(worker)
    await writer.#ready.promise
    writer.#onFatal = onFatal
    return writer
  }

  constructor(worker: Worker) {
    this.#worker = worker
    worker.on('message', (reply: Reply) => this.#receive(reply))
    worker.on('error', (error: Error) => this.#fail(error))
    worker.on('exit', () => {
      this.#exited.resolve()
      if (!this.#closed) this.#fail(new Error('the channel writer ended'))
    })
  }

  /** Rejects when the effect of `command` is unknown. `K` names the answer that `command` has. */
  ask<K extends keyof Answers>(
    _kind: K,
    command: Command & { readonly kind: K },
    sealed: readonly Uint8Array[] = [],
  ): Promise<{ readonly answer: Answers[K]; readonly blob: ArrayBuffer }> {
    if (this.#fatal !== null) return Promise.reject(this.#fatal)
    if (this.#closed) return Promise.reject(new Error('the channel store is closed'))
    if (this.#outbox.length + this.#posted.length >= pendingMax) {
      return Promise.reject(new Error('the channel store is overloaded'))
    }
    return new Promise((resolve, reject) => {
      this.#outbox.push({
        command,
        sealed,
        resolve: ({ answer, blob }) => resolve({ answer: answer as Answers[K], blob }),
        reject,
      })
      // One post for everything that this turn asks: fewer messages, larger transactions.
      if (this.#outbox.length === 1) setImmediate(() => this.#post())
    })
  }

  async snapshot(path: string): Promise<void> {
    const { answer } = await this.ask('snapshot', { kind: 'snapshot', path })
    if (answer !== null) throw new SnapshotFault(answer)
  }

  async close(): Promise<void> {
    if (!this.#closed && this.#fatal === null) {
      const closed = this.ask('close', { kind: 'close' })
      this.#closed = true
      await closed
    }
    await this.#exited.promise
  }

  #post(): void {
    if (this.#fatal !== null || this.#outbox.length === 0) return
    const waiting = this.#outbox
    this.#outbox = []
    this.#posted.push(...waiting)
    const parts = waiting.flatMap(({ sealed }) => sealed)
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
    let at = 0
    for (const part of parts) {
      bytes.set(part, at)
      at += part.length
    }
    const commands = withBase(waiting)
    this.#worker.postMessage({ commands, blob: bytes.buffer } satisfies Batch, [bytes.buffer])
  }

  #receive(reply: Reply): void {
    if ('fatal' in reply) return this.#fail(new Error(reply.fatal))
    if ('ready' in reply) return this.#ready.resolve()
    const answered = this.#posted.splice(0, reply.answers.length)
    for (const [i, waiting] of answered.entries()) {
      waiting.resolve({ answer: reply.answers[i] ?? null, blob: reply.blob })
    }
  }

  #fail(error: Error): void {
    if (this.#fatal !== null) return
    this.#fatal = new Error('the channel store failed', { cause: error })
    const waiting = [...this.#posted, ...this.#outbox]
    this.#posted = []
    this.#outbox = []
    for (const { reject } of waiting) reject(this.#fatal)
    this.#ready.reject(error)
    this.#onFatal(this.#fatal)
  }
}

/** Spans count from the caller's first byte; in the shared buffer they count from its start. */
function withBase(waiting: readonly Waiting[]): readonly Command[] {
  let base = 0
  return waiting.map(({ command, sealed }) => {
    if (command.kind !== 'publish') return command
    const start = base
    base += sealed.reduce((sum, part) => sum + part.length, 0)
    const items = command.items.map((item) => ({
      ...item,
      sealed: { at: item.sealed.at + start, length: item.sealed.length },
    }))
    return { ...command, items }
  })
}

function toItems(
  orders: readonly PublishCommand[],
  limitsOf: (channel: string) => ChannelLimits,
): { readonly items: readonly PublishItem[]; readonly sealed: readonly Uint8Array[] } {
  let at = 0
  const items = orders.map(({ sealed, ...order }) => {
    const span: Span = { at, length: sealed.length }
    at += sealed.length
    return { ...order, sealed: span, limits: limitsOf(order.channel) }
  })
  return { items, sealed: orders.map(({ sealed }) => sealed) }
}

function toStored(
  channel: string,
  { offset, messageId, storedAt, expiresAt, sealed }: Omit<LeasedItem, 'attempt' | 'place'>,
  blob: ArrayBuffer,
): StoredMessage {
  const bytes = new Uint8Array(blob, sealed.at, sealed.length)
  return { channel, offset, messageId, sealed: bytes, storedAt, expiresAt }
}

function syncDirectory(path: string): void {
  const descriptor = openSync(path, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
