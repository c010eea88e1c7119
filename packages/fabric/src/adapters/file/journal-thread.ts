import type { Worker } from 'node:worker_threads'
import { startWorker } from '../../concurrency/start-worker.ts'
import type { LedgerCommit, LoadedHead, StoredHead, WalRecord } from '../../ledger/store.ts'
import type { JournalPlaces, LedgerJournal } from './ledger-journal.ts'

/** Main thread to worker. The body of a commit is one part, which changes hands. */
export type JournalCall =
  | { readonly name: 'load' | 'sync' | 'replay' | 'rewrite' | 'reset' | 'close' }
  | { readonly name: 'replace'; readonly previousSize: number | null; readonly next: StoredHead }
  | { readonly name: 'trim'; readonly size: number }
  | { readonly name: 'commit'; readonly commit: LedgerCommit }

/** Worker to main thread, one for each call, in the order of the calls. */
export type JournalReply = { readonly fault: string } | { readonly value: unknown }

interface Waiting {
  resolve(value: unknown): void
  reject(cause: Error): void
}

/**
 * The journal in a thread of its own, where a commit is three system calls in a row. In the thread
 * pool each of them would wait for the event loop to ask for the next one, twice as long as the
 * disk needs on a busy server.
 */
export function startJournalThread(
  places: JournalPlaces,
  onFail: (cause: Error) => void = () => undefined,
): LedgerJournal {
  const file = new URL('./journal-worker.ts', import.meta.url)
  const thread = new JournalThread(startWorker(file, 'ledger-journal', places), onFail)
  return {
    wal: {
      async replay(visit) {
        for (const record of (await thread.ask({ name: 'replay' })) as WalRecord[]) visit(record)
      },
      rewrite: async () => void (await thread.ask({ name: 'rewrite' })),
      trim: async (size) => void (await thread.ask({ name: 'trim', size })),
      reset: async () => void (await thread.ask({ name: 'reset' })),
    },
    heads: {
      load: async () => (await thread.ask({ name: 'load' })) as LoadedHead | null,
      replace: async (previousSize, next) =>
        void (await thread.ask({ name: 'replace', previousSize, next })),
      sync: async () => void (await thread.ask({ name: 'sync' })),
    },
    async commit(commit) {
      const body = joined(commit.body)
      await thread.ask({ name: 'commit', commit: { ...commit, body: [body] } }, [body.buffer])
    },
    close: () => thread.close(),
  }
}

class JournalThread {
  readonly #worker: Worker
  /** Unanswered calls, oldest first. */
  readonly #waiting: Waiting[] = []
  readonly #onFail: (cause: Error) => void
  #ended: Error | null = null

  constructor(worker: Worker, onFail: (cause: Error) => void) {
    this.#worker = worker
    this.#onFail = onFail
    worker.on('message', (reply: JournalReply) => this.#settle(reply))
    worker.on('error', (cause: Error) => this.#end(cause))
    worker.on('exit', () => this.#end(new Error('the thread of the ledger ended')))
    // Only work that is under way keeps the process alive.
    worker.unref()
  }

  ask(call: JournalCall, transfer: readonly ArrayBuffer[] = []): Promise<unknown> {
    if (this.#ended !== null) return Promise.reject(this.#ended)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#worker.ref()
      this.#worker.postMessage(call, transfer)
    })
  }

  async close(): Promise<void> {
    if (this.#ended !== null) return
    const exited = new Promise((resolve) => this.#worker.once('exit', resolve))
    const closed = this.ask({ name: 'close' })
    this.#ended = new Error('the journal is closed')
    await closed
    this.#worker.ref()
    await exited
  }

  #settle(reply: JournalReply): void {
    const waiting = this.#waiting.shift()
    if (this.#waiting.length === 0) this.#worker.unref()
    if ('fault' in reply) waiting?.reject(new Error(reply.fault))
    else waiting?.resolve(reply.value)
  }

  #end(cause: Error): void {
    const isExpected = this.#ended !== null
    this.#ended ??= cause
    for (const { reject } of this.#waiting.splice(0)) reject(cause)
    if (!isExpected) this.#onFail(cause)
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
