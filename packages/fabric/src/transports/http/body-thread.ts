import type { Worker } from 'node:worker_threads'
import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { InspectedParts, Parts } from '../../pipeline/inspect-parts.ts'
import type { LargeBodies, TimeAccount } from '../../pipeline/large-bodies.ts'
import { LoopShare } from '../../pipeline/loop-share.ts'
import { TimeCredit } from '../../pipeline/time-credit.ts'
import {
  type ContentKind,
  evidentKind,
  kindOf,
  type ReadKind,
} from '../../protocols/a2a/card-content.ts'
import {
  mayCreate,
  type TaskQuestion,
  type TaskReader,
  taskReaders,
} from '../../protocols/a2a/task-reader.ts'
import { type Classified, type Classify, classifyRequest } from '../../protocols/classify.ts'
import type { Work } from '../../protocols/reading/reading-steps.ts'
import type { RedactionRequest } from '../../redaction/redactor.ts'
import { type BodyJob, type JobOutcome, ThreadLane } from './thread-lane.ts'

/** Limit of one job of the quick lane: no other job waits longer for it. */
const quickMs = 250
/** While no other job waits there. */
const quickAloneMs = 2_000
/** Ordinary logs of 2 MiB, or documents of 200 KiB; the worst case takes less than `quickMs`. */
const quickSteps = 15_000_000
/**
 * One job of the slow lane. `inspect.steps` take nine seconds at worst, of a machine that is not
 * busy.
 */
const slowMs = 15_000
const slowLimit = { name: 'work.bodyMs', value: slowMs, unit: 'ms' } as const
/**
 * Beyond a second at once, a client may use a quarter of the quick lane; then it has the slow one.
 */
const creditOptions = { rate: 0.25, creditMsMax: 1_000, debtMsMax: 10_000 }
/**
 * Ending a thread costs others more than its time: whose job did has the slow lane from then on.
 */
const replacementMs = 1_000

interface AnswerToRead {
  readonly body: Uint8Array
  readonly owned?: readonly string[]
  readonly account: TimeAccount
}

type JobOf = (steps: number | null) => BodyJob

export interface BodyThreadOptions {
  /** Maximum heap of each thread. */
  readonly heapBytes: number
  start(): Worker
  now(): number
}

/**
 * Parses and inspects messages that would stop the event loop for too long, in two threads, each
 * client in turn by the time that it has used. The quick lane gives a job a quarter of a second;
 * what takes longer begins anew in the slow lane, which is also where all jobs of a client go that
 * has used more than its share of the quick one. So a client waits for short jobs of others only,
 * and those with long ones wait for one another.
 */
export class BodyThread implements LargeBodies {
  readonly loop: LoopShare
  readonly #credit: TimeCredit
  readonly #quick: ThreadLane
  readonly #slow: ThreadLane

  constructor({ heapBytes, start, now }: BodyThreadOptions) {
    const credit = new TimeCredit({ ...creditOptions, now })
    const charge = (client: string, ms: number): void => credit.charge(client, ms)
    this.loop = new LoopShare(now)
    this.#credit = credit
    const serves = (client: string): boolean => credit.has(client)
    const shared = { heapBytes, start, now, charge }
    this.#quick = new ThreadLane({ ...shared, serves, jobMs: quickMs, aloneMs: quickAloneMs })
    this.#slow = new ThreadLane({
      ...shared,
      serves: () => true,
      jobMs: slowMs,
      aloneMs: slowMs,
    })
  }

  /** Small bodies are classified at once. */
  readonly classify: Classify = ({ head, body, client }, path, protocol, known = []) => {
    const received = { head, body }
    return (
      this.loop.run(client, body.length + head.path.length, (work) =>
        classifyRequest(received, path, protocol, { known, work }),
      ) ??
      this.#run<Classified>(
        (steps) => ({ name: 'classify', received, path, protocol, known, steps }),
        { name: client, caller: client, isAnswer: false },
      )
    )
  }

  /** Most answers hold nothing that is worth a closer look, which one pass over them shows. */
  readonly readKind: ReadKind = (content, contentType, account) =>
    this.loop.glance(account.name, content.length, () => evidentKind(content, contentType)) ??
    this.loop.run(account.name, content.length, (work) => kindOf(content, contentType, work)) ??
    this.#run<ContentKind>((steps) => ({ name: 'content', content, contentType, steps }), account)

  readonly tasks: TaskReader = {
    createdIn: (body, account) =>
      this.loop.glance(account.name, body.length, () => mayCreate(body)) === false
        ? []
        : this.#read('createdIn', { body, account }),
    listedIn: (body, account) => this.#read('listedIn', { body, account }),
    filtered: (body, owned, account) => this.#read('filtered', { body, owned, account }),
    filteredError: (body, owned, account) => this.#read('filteredError', { body, owned, account }),
  }

  async inspect(
    parts: Parts,
    { mask, block }: RedactionRequest,
    account: TimeAccount,
  ): Promise<InspectedParts | Refusal> {
    const order = { mask, block }
    const { signature: signed } = parts
    // Without the bytes that were signed, which are inspected as what they are made of.
    const signature = signed && { components: signed.components, nonce: signed.nonce }
    const jobOf: JobOf = (steps) => ({
      name: 'inspect',
      parts: { ...parts, signature },
      order,
      steps,
    })
    const answer = await this.#run<InspectedParts>(jobOf, account)
    if (answer instanceof Refusal) return answer
    // Null stands for the body as it was: the very same object, as `inspectParts` promises.
    return { ...answer, body: answer.body ?? parts.body }
  }

  async close(): Promise<void> {
    await Promise.all([this.#quick.close(), this.#slow.close()])
  }

  #read<Q extends TaskQuestion>(question: Q, answer: AnswerToRead): ReturnType<TaskReader[Q]> {
    const { body, owned = [], account } = answer
    const read = (work: Work): unknown => taskReaders[question](body, owned, work)
    const result =
      this.loop.run(account.name, body.length, read) ??
      this.#run((steps) => ({ name: 'tasks', question, body, owned, steps }), account)
    return result as ReturnType<TaskReader[Q]>
  }

  async #run<T>(jobOf: JobOf, account: TimeAccount): Promise<T | Refusal> {
    const { name: client } = account
    // The thread works for identified clients only: others have no account to charge.
    if (client === '') return new Refusal('UNDECIDED', 'the message is on no account')
    if (this.#credit.has(client)) {
      const outcome = await runIn(this.#quick, account, jobOf(quickSteps))
      if (outcome === 'late') this.#credit.charge(client, replacementMs)
      // A client that has used its share leaves the quick lane with all of its jobs.
      else if (outcome !== 'unserved' && !isTooCostly(outcome)) return answerOf<T>(outcome)
    }
    const outcome = await runIn(this.#slow, account, jobOf(null))
    if (outcome === 'late' || outcome === 'unserved') {
      this.#credit.charge(client, replacementMs)
      return overLimit('MESSAGE_TOO_LARGE', slowLimit, 'inspection took too long')
    }
    return answerOf<T>(outcome)
  }
}

function runIn(lane: ThreadLane, account: TimeAccount, job: BodyJob): Promise<JobOutcome> {
  return new Promise((settle) => lane.push({ account, job, settle }))
}

type Ended = Exclude<JobOutcome, 'late' | 'unserved'>

const isTooCostly = (outcome: Ended): boolean =>
  !(outcome instanceof Refusal) && 'isTooCostly' in outcome

function answerOf<T>(outcome: Ended): T | Refusal {
  if (outcome instanceof Refusal) return outcome
  if ('value' in outcome) return outcome.value as T
  if ('fault' in outcome) return new Refusal('UNDECIDED', outcome.fault)
  if ('isTooCostly' in outcome) return new Refusal('UNDECIDED', 'the slow lane bounds no steps')
  const { code, detail, limit, rpcId } = outcome.refusal
  return new Refusal(code, detail, null, { limit, rpcId })
}
