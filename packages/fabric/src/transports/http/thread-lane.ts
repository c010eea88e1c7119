import type { Worker } from 'node:worker_threads'
import type { RefusalCode } from '@countersign/protocol'
import { FairQueue } from '../../budgets/fair-queue.ts'
import { limitWait } from '../../budgets/waiting-limits.ts'
import { setDeadline } from '../../lib/clock.ts'
import { overLimit } from '../../lib/limits.ts'
import { Refusal, type RpcId } from '../../lib/refusal.ts'
import type { Parts } from '../../pipeline/inspect-parts.ts'
import type { TimeAccount } from '../../pipeline/large-bodies.ts'
import type { TaskQuestion } from '../../protocols/a2a/task-reader.ts'
import type { Head } from '../../protocols/reading/head.ts'
import type { IdFilter } from '../../protocols/reading/known-ids.ts'
import type { RouteProtocol } from '../../protocols/reading/route-protocol.ts'
import type { RedactionRequest } from '../../redaction/redactor.ts'

/** Main thread to worker; one at a time. */
export type BodyJob = BodyWork & {
  /** The cost above which it is `isTooCostly`; null if only `inspect.steps` bounds it. */
  readonly steps: number | null
}

type BodyWork =
  | {
      readonly name: 'classify'
      readonly received: { readonly head: Head; readonly body: Uint8Array }
      readonly path: string
      readonly protocol: RouteProtocol
      readonly known: readonly IdFilter[]
    }
  | {
      readonly name: 'content'
      readonly content: Uint8Array
      readonly contentType: string
    }
  | {
      readonly name: 'tasks'
      readonly question: TaskQuestion
      readonly body: Uint8Array
      readonly owned: readonly string[]
    }
  | {
      readonly name: 'inspect'
      readonly parts: Parts
      readonly order: RedactionRequest
    }

/** A refusal as a thread can pass it on. */
export interface RefusalText {
  readonly code: RefusalCode
  readonly detail: string
  readonly limit: string | null
  readonly rpcId: RpcId
}

/** Worker to main thread: that it has started, then one answer for each job. */
export type BodyAnswer =
  | { readonly isReady: true }
  | { readonly value: unknown }
  | { readonly refusal: RefusalText }
  | { readonly isTooCostly: true }
  | { readonly fault: string }

/**
 * The outcome of a job; it is `late` when it cost more than its lane gives one job, and `unserved`
 * when its account may not use the lane any more.
 */
export type JobOutcome =
  | Exclude<BodyAnswer, { readonly isReady: true }>
  | Refusal
  | 'late'
  | 'unserved'

export interface WaitingJob {
  readonly account: TimeAccount
  readonly job: BodyJob
  settle(outcome: JobOutcome): void
}

export interface LaneOptions {
  start(): Worker
  now(): number
  /** Maximum heap of its thread. */
  readonly heapBytes: number
  /** The longest that one job may take while others wait; then its thread is replaced. */
  readonly jobMs: number
  /** The longest that it may take while none does. */
  readonly aloneMs: number
  /** Reports whether the lane serves the client; called when its turn comes. */
  serves(client: string): boolean
  /** Charges the client for the thread's time that a job has used. */
  charge(client: string, ms: number): void
}

/** A job in the queue, and what watches over its wait. */
interface Place extends WaitingJob {
  unwatch: () => void
}

/** A thread keeps the memory of its largest job; without work it is ended, and started again. */
const idleMs = 10_000
/** A thread that has not started by then is not going to. */
const startMs = 30_000
/**
 * `work.endingThreads`: threads that were asked to end and have not. One inside a call of the
 * runtime ends only when that returns. Above this, jobs wait for one to end, so that costly
 * messages do not each leave a thread running.
 */
const endingMax = 1
const mebibyte = 1024 * 1024

/**
 * The heap of a thread. The costliest text that we know needs 45 bytes for each of a body; the
 * least is what a body of 6 MiB took with a margin, the most what one of `inspect.bodyBytes` can
 * use.
 */
export function heapBytesFor(bodyBytesMax: number): number {
  return Math.min(Math.max(64 * bodyBytesMax, 256 * mebibyte), 1024 * mebibyte)
}

/**
 * One thread and the jobs that wait for it. Accounts share its time equally, by what their jobs
 * have taken, and so do the callers of each. Fails closed: a thread that dies or takes too long
 * ends its job, and the jobs that wait go to a new one.
 */
export class ThreadLane {
  readonly #options: LaneOptions
  readonly #queue = new FairQueue<Place>()
  #worker: Worker | null = null
  #isReady = false
  #ending = 0
  #current: { readonly place: Place; readonly began: number } | null = null
  /** Cancels the deadline of the job that has begun, or of the thread that starts. */
  #undue: () => void = () => undefined
  #idle: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: LaneOptions) {
    this.#options = options
  }

  /**
   * The job waits for its turn. The number of waiting jobs is not bounded: the memory that they
   * hold is on the accounts of `BodyBudget`, by which a request was admitted, and its answer before
   * it was asked for.
   */
  push({ account, job, settle }: WaitingJob): void {
    if (this.#isClosed) return settle(stopped())
    const place: Place = { account, job, settle, unwatch: () => undefined }
    this.#queue.push(account, place)
    this.#next()
    if (this.#current?.place === place) return
    place.unwatch = limitWait(account, (refusal) => {
      if (this.#queue.remove(account, place)) leave(place, refusal)
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#idle)
    const worker = this.#forsake()
    this.#finish(stopped())
    for (const place of this.#queue.drain()) leave(place, stopped())
    await worker?.terminate()
  }

  #next(): void {
    if (this.#current !== null || this.#isClosed) return
    clearTimeout(this.#idle)
    if (this.#queue.size === 0) {
      this.#idle = setTimeout(() => this.#end(), idleMs).unref()
      return
    }
    if (this.#worker === null && this.#ending <= endingMax) this.#open()
    if (!this.#isReady || this.#worker === null) return
    const place = this.#takeServed()
    if (place === undefined) return
    const began = this.#options.now()
    this.#current = { place, began }
    this.#limit(began)
    this.#worker.postMessage(place.job)
  }

  /**
   * No job waits longer than `jobMs` for the one that has begun, which may run on while no other
   * job waits.
   */
  #limit(began: number): void {
    const { jobMs, aloneMs, now } = this.#options
    this.#undue = setDeadline(jobMs, () => {
      if (this.#queue.size > 0 || now() - began >= aloneMs) this.#replace('late')
      else this.#limit(began)
    })
  }

  #open(): void {
    let worker: Worker
    try {
      worker = this.#options.start()
    } catch (error) {
      // No thread can be made now: the next job has the reason, and the one after it tries again.
      return this.#refuseNext(
        new Refusal('UNDECIDED', `no thread can be started: ${String(error)}`),
      )
    }
    this.#worker = worker
    worker.unref()
    const ifMine = (act: () => void) => {
      if (this.#worker === worker) act()
    }
    worker.on('message', (answer: BodyAnswer) => ifMine(() => this.#take(answer)))
    worker.on('error', (error: Error & { code?: string }) =>
      ifMine(() => this.#replace(threadFault(error, this.#options.heapBytes))),
    )
    worker.on('exit', () =>
      ifMine(() => this.#replace(new Refusal('UNDECIDED', 'the inspecting thread ended'))),
    )
    const timer = setTimeout(
      () => this.#replace(new Refusal('UNDECIDED', 'the inspecting thread does not start')),
      startMs,
    ).unref()
    this.#undue = () => clearTimeout(timer)
  }

  #take(answer: BodyAnswer): void {
    if (!('isReady' in answer)) return this.#finish(answer)
    this.#undue()
    this.#isReady = true
    this.#next()
  }

  /** Ends the thread, which is beyond use, and its job. The jobs that wait get another thread. */
  #replace(outcome: JobOutcome): void {
    const wasReady = this.#isReady
    this.#end()
    if (this.#current !== null) return this.#finish(outcome)
    // Otherwise a thread that cannot start would be started for ever.
    if (!wasReady) this.#refuseNext(outcome)
    this.#next()
  }

  #takeServed(): Place | undefined {
    for (;;) {
      const place = this.#queue.take()
      if (place === undefined) return undefined
      place.unwatch()
      if (this.#options.serves(place.account.name)) return place
      place.settle('unserved')
    }
  }

  #refuseNext(outcome: JobOutcome): void {
    const place = this.#queue.take()
    if (place !== undefined) leave(place, outcome)
  }

  #end(): void {
    const worker = this.#forsake()
    if (worker === null) return
    this.#ending++
    const ended = (): void => {
      this.#ending--
      this.#next()
    }
    worker.terminate().then(ended, ended)
  }

  #forsake(): Worker | null {
    this.#undue()
    const worker = this.#worker
    this.#worker = null
    this.#isReady = false
    return worker
  }

  #finish(outcome: JobOutcome): void {
    const current = this.#current
    if (current === null) return
    this.#undue()
    this.#current = null
    const { account, settle } = current.place
    const ms = this.#options.now() - current.began
    this.#queue.charge(account, ms)
    this.#options.charge(account.name, ms)
    settle(outcome)
    this.#next()
  }
}

function leave({ unwatch, settle }: Place, outcome: JobOutcome): void {
  unwatch()
  settle(outcome)
}

function threadFault(error: Error & { readonly code?: string }, value: number): Refusal {
  if (error.code !== 'ERR_WORKER_OUT_OF_MEMORY') {
    return new Refusal('UNDECIDED', `the inspecting thread failed: ${String(error)}`)
  }
  const limit = { name: 'work.heapBytes', value, unit: 'bytes' } as const
  return overLimit('MESSAGE_TOO_LARGE', limit, 'inspection ran out of memory')
}

function stopped(): Refusal {
  return new Refusal('UNDECIDED', 'the fabric stops')
}
