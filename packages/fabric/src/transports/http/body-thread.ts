import type { Worker } from 'node:worker_threads'
import type { RefusalCode } from '@countersign/protocol'
import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'
import { inlineBytesMax, type LargeBodies } from '../../pipeline/large-bodies.ts'
import type { Redacted, RedactionOrder } from '../../redaction/redactor.ts'
import { type Classified, type Classify, classifyIncoming, type RouteProtocol } from './classify.ts'
import type { Head } from './head.ts'

/** Main thread to worker; one at a time. */
export type BodyJob =
  | {
      readonly name: 'classify'
      readonly incoming: { readonly head: Head; readonly body: Uint8Array }
      readonly path: string
      readonly protocol: RouteProtocol
    }
  | {
      readonly name: 'redact'
      readonly body: Uint8Array
      readonly contentType: string
      readonly order: RedactionOrder
    }

/** A refusal as a thread can pass it on. */
export interface RefusalText {
  readonly code: RefusalCode
  readonly detail: string
  readonly limit: string | null
}

/** Worker to main thread, one for each job. */
export type BodyAnswer =
  | { readonly value: unknown }
  | { readonly refusal: RefusalText }
  | { readonly fault: string }

/** As `Redacted`; null stands for the body as it was. */
type RedactedText = Omit<Redacted, 'body'> & { readonly body: Uint8Array | null }

interface Waiting {
  readonly job: BodyJob
  settle(answer: BodyAnswer | Refusal): void
}

/** Jobs that wait, of all clients and of one. Their bodies are on the accounts of `BodyBudget`. */
const jobsMax = 256
const clientJobsMax = 32
/** The worst body within its bounds takes some seconds on a slow machine. */
const jobMs = 15_000
const retryAfterMs = 1_000
/** A thread keeps the memory of its largest job; without work it is ended, and started again. */
const idleMs = 10_000

/**
 * Parses and inspects large bodies in a thread of their own, one at a time and each client in turn:
 * what takes seconds stops neither the event loop nor, for longer than one job, another client.
 * Fails closed: a thread that dies or takes too long refuses the job, and a new one is started.
 */
export class BodyThread implements LargeBodies {
  readonly #start: () => Worker
  readonly #queues = new Map<string, Waiting[]>()
  #waiting = 0
  #worker: Worker | null = null
  #current: (Waiting & { readonly timer: NodeJS.Timeout }) | null = null
  #idle: NodeJS.Timeout | undefined
  #closed = false

  constructor(start: () => Worker) {
    this.#start = start
  }

  /** Small bodies are classified at once. */
  readonly classify: Classify = ({ head, body, client }, path, protocol) => {
    const incoming = { head, body }
    if (body.length <= inlineBytesMax) return classifyIncoming(incoming, path, protocol)
    return this.#run<Classified>({ name: 'classify', incoming, path, protocol }, client)
  }

  async redact(
    { body, contentType }: { readonly body: Uint8Array; readonly contentType: string },
    order: RedactionOrder,
    client: string,
  ): Promise<Redacted | Refusal> {
    const job = { name: 'redact', body, contentType, order } as const
    const answer = await this.#run<RedactedText>(job, client)
    if (answer instanceof Refusal) return answer
    // The very same object where nothing was changed, as the redactor promises.
    return { ...answer, body: answer.body ?? body }
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#idle)
    const worker = this.#worker
    this.#worker = null
    this.#finish(new Refusal('UNDECIDED', 'the fabric stops'))
    for (const queue of this.#queues.values()) {
      for (const { settle } of queue) settle(new Refusal('UNDECIDED', 'the fabric stops'))
    }
    this.#queues.clear()
    await worker?.terminate()
  }

  async #run<T>(job: BodyJob, client: string): Promise<T | Refusal> {
    const queue = this.#queues.get(client) ?? []
    if (this.#closed) return new Refusal('UNDECIDED', 'the fabric stops')
    if (queue.length >= clientJobsMax) {
      return busy({ name: 'work.clientBodies', value: clientJobsMax, unit: 'count' })
    }
    if (this.#waiting >= jobsMax) {
      return busy({ name: 'work.bodies', value: jobsMax, unit: 'count' })
    }
    const answer = await new Promise<BodyAnswer | Refusal>((settle) => {
      queue.push({ job, settle })
      this.#queues.set(client, queue)
      this.#waiting++
      this.#next()
    })
    if (answer instanceof Refusal) return answer
    if ('fault' in answer) return new Refusal('UNDECIDED', answer.fault)
    if ('value' in answer) return answer.value as T
    const { code, detail, limit } = answer.refusal
    return new Refusal(code, detail, null, { limit })
  }

  #next(): void {
    if (this.#current !== null || this.#closed) return
    const [first] = this.#queues
    clearTimeout(this.#idle)
    if (first === undefined) {
      this.#idle = setTimeout(() => this.#rest(), idleMs).unref()
      return
    }
    const [client, queue] = first
    const waiting = queue.shift()
    // To the end of the round, so that no client has two turns in a row while another waits.
    this.#queues.delete(client)
    if (queue.length > 0) this.#queues.set(client, queue)
    if (waiting === undefined) return this.#next()
    this.#waiting--
    const timer = setTimeout(() => {
      const limit = { name: 'work.bodyMs', value: jobMs, unit: 'ms' } as const
      this.#drop(overLimit('MESSAGE_TOO_LARGE', limit, 'inspection took too long'))
    }, jobMs)
    timer.unref()
    this.#current = { ...waiting, timer }
    this.#worker ??= this.#open()
    this.#worker.postMessage(waiting.job)
  }

  #open(): Worker {
    const worker = this.#start()
    worker.unref()
    worker.on('message', (answer: BodyAnswer) => this.#finish(answer))
    const ended = (why: string): void => {
      if (this.#worker === worker) this.#drop(new Refusal('UNDECIDED', why))
    }
    worker.on('error', (error: Error & { code?: string }) => {
      if (this.#worker !== worker) return
      const isMemory = error.code === 'ERR_WORKER_OUT_OF_MEMORY'
      const limit = { name: 'work.heapBytes', value: heapBytesMax, unit: 'bytes' } as const
      if (isMemory)
        this.#drop(overLimit('MESSAGE_TOO_LARGE', limit, 'inspection ran out of memory'))
      else ended(`the inspecting thread failed: ${String(error)}`)
    })
    worker.on('exit', () => ended('the inspecting thread ended'))
    return worker
  }

  #rest(): void {
    const worker = this.#worker
    this.#worker = null
    worker?.terminate().then(undefined, () => undefined)
  }

  /** The thread is beyond use; the next job starts another one. */
  #drop(refusal: Refusal): void {
    const worker = this.#worker
    this.#worker = null
    worker?.terminate().then(undefined, () => undefined)
    this.#finish(refusal)
  }

  #finish(answer: BodyAnswer | Refusal): void {
    const current = this.#current
    if (current === null) return
    clearTimeout(current.timer)
    this.#current = null
    current.settle(answer)
    this.#next()
  }
}

/** What the thread may allocate: a body of the largest size with as many names as one may have. */
export const heapBytesMax = 1024 * 1024 * 1024

function busy(limit: Parameters<typeof overLimit>[1]): Refusal {
  return overLimit('OVERLOADED', limit, 'large bodies wait for inspection', retryAfterMs)
}
