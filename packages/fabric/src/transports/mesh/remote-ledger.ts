import {
  batchEntriesMax,
  encodePackedBatch,
  type Limit,
  parseLimit,
  parseUtf8,
  slotOfExchange,
} from '@countersign/protocol'
import type { Committed, EntryDraft } from '../../ledger/ledger.ts'
import type { Clock } from '../../lib/clock.ts'
import { Shares } from '../../lib/limits.ts'
import type { Random } from '../../lib/random.ts'
import { LedgerBusy } from '../../pipeline/record.ts'
import { BatchChain, type EncodedStatement, encodeStated } from '../../pipeline/stated-batch.ts'
import type { ConnectorAgent } from './connector-agent.ts'

/** Entries that begin an exchange, or refuse one, and wait while a batch is under way. */
const waitingLimit = { name: 'mesh.waitingEntries', value: 4096, unit: 'count' } as const

/** Maximum time that each of them waits for its batch to leave. */
const waitLimit = { name: 'mesh.waitMs', value: 5_000, unit: 'ms' } as const

/** Of one request: well below the body limit that a fabric has by default. */
const batchBytesMax = 1024 * 1024

/**
 * Number of attempts to send an entry that closes an exchange when the fabric is at a limit or does
 * not answer, and the pause between them, which doubles where it did not answer. The fabric records
 * such an entry once.
 */
const closingAttempts = 5
const closingPauseMs = 1_000

interface Waiting {
  readonly kind: EntryDraft['kind']
  readonly exchange: string
  /** As it is sent, and as the log stores it. */
  readonly encoded: EncodedStatement
  /** The caller whose share of the waiting entries it takes. */
  readonly owner: string
  /** Monotonic milliseconds until which it waits; for what closes an exchange, without end. */
  readonly until: number
  readonly attempt: number
  /** True if it may be on record already: it was sent, and the answer was lost. */
  readonly isUnanswered: boolean
  resolve(committed: Committed): void
  reject(cause: unknown): void
}

type Agent = Pick<ConnectorAgent, 'request' | 'signer' | 'spiffeId' | 'trustDomain'>

interface QueueParts {
  readonly clock: Pick<Clock, 'now' | 'monotonic'>
  readonly random: Random
}

/**
 * The fabric's ledger as a connector appends to it: batches gather while the one before is under
 * way, as in the ledger's own group commit, so that many exchanges share one round trip and one
 * signature, by which the agent states the entries as its own. An entry is durable at the fabric
 * when its promise resolves.
 *
 * An entry before delivery waits for a bounded time in a bounded queue, of which each caller has a
 * share; then it is refused with LedgerBusy. An entry that closes an exchange goes first and is
 * never refused by a bound of this queue: there are no more of them than exchanges that began.
 */
export function remoteLedger(
  agent: Agent,
  parts: QueueParts,
): { append(draft: EntryDraft): Promise<Committed> } {
  const queue = new Queue(agent, parts)
  return {
    append(draft) {
      try {
        // Alone, before it can spoil the batch that it would wait in.
        return queue.add(draft, encodeStated(draft, agent.spiffeId, parts.random))
      } catch (cause) {
        return Promise.reject(new Error(`it cannot be recorded: ${String(cause)}`, { cause }))
      }
    },
  }
}

class Queue {
  readonly #agent: Agent
  readonly #clock: QueueParts['clock']
  readonly #chain: BatchChain
  readonly #shares = new Shares(waitingLimit.value)
  #closing: Waiting[] = []
  #opening: Waiting[] = []
  #isSending = false
  #isTimed = false

  constructor(agent: Agent, { clock, random }: QueueParts) {
    this.#agent = agent
    this.#clock = clock
    this.#chain = new BatchChain(agent, { clock, random })
  }

  add(draft: EntryDraft, encoded: EncodedStatement): Promise<Committed> {
    const { kind, exchange } = draft
    const { caller } = draft.facts
    const owner = typeof caller === 'string' ? caller : ''
    return new Promise((resolve, reject) => {
      const settle = { resolve, reject, attempt: 1, isUnanswered: false }
      const waiting = { kind, exchange, encoded, owner, ...settle }
      if (closes(draft)) {
        this.#closing.push({ ...waiting, until: Number.POSITIVE_INFINITY })
      } else {
        if (!this.#shares.hasSpace(owner)) {
          reject(new LedgerBusy(waitingLimit, 'too many entries wait for the fabric'))
          return
        }
        this.#shares.take(owner)
        this.#opening.push({ ...waiting, until: this.#clock.monotonic() + waitLimit.value })
        this.#expireIn(waitLimit.value)
      }
      this.#start()
    })
  }

  #start(): void {
    if (!this.#isSending) void this.#drain()
  }

  async #drain(): Promise<void> {
    this.#isSending = true
    while (this.#closing.length + this.#opening.length > 0) {
      // An entry whose time is over has not left, so it is refused and not sent.
      this.#dropExpired()
      const batch = this.#take()
      if (batch.length > 0) await this.#send(batch)
    }
    this.#isSending = false
  }

  /**
   * Entries that close exchanges go first: their callers have nothing else to wait for. A batch is
   * stated for one log.
   */
  #take(): readonly Waiting[] {
    const batch: Waiting[] = []
    let bytes = 0
    for (const queue of [this.#closing, this.#opening]) {
      const end = queue.findIndex((each, at) => {
        const before = batch.length + at
        const [first = queue[0]] = batch
        bytes += each.encoded.leaf.length + each.encoded.detail.length
        if (before === batchEntriesMax || (before > 0 && bytes > batchBytesMax)) return true
        return slotOfExchange(each.exchange) !== slotOfExchange(first?.exchange ?? '')
      })
      const taken = queue.splice(0, end === -1 ? queue.length : end)
      batch.push(...taken)
      if (end !== -1) break
    }
    for (const each of batch) if (!closes(each)) this.#shares.give(each.owner)
    return batch
  }

  /** Entries come in the order of their deadlines. */
  #dropExpired(): void {
    const now = this.#clock.monotonic()
    const first = this.#opening.findIndex(({ until }) => until > now)
    const expired = this.#opening.splice(0, first === -1 ? this.#opening.length : first)
    for (const { owner, reject } of expired) {
      this.#shares.give(owner)
      reject(new LedgerBusy(waitLimit, 'the entry waited for too long'))
    }
  }

  /** A batch under way can take longer than those behind it may wait. */
  #expireIn(delayMs: number): void {
    if (this.#isTimed) return
    this.#isTimed = true
    setTimeout(() => {
      this.#isTimed = false
      this.#dropExpired()
      const [oldest] = this.#opening
      if (oldest !== undefined) this.#expireIn(Math.max(1, oldest.until - this.#clock.monotonic()))
    }, delayMs).unref()
  }

  async #send(batch: readonly Waiting[]): Promise<void> {
    const stated = this.#chain.state(
      slotOfExchange(batch[0]?.exchange ?? '') ?? '',
      batch.map(({ encoded }) => encoded),
    )
    let isRecorded = false
    try {
      const answer = await this.#ask(batch, stated)
      if (answer.status === tooLarge && batch.length > 1) {
        this.#chain.end(stated, false)
        // Nothing was recorded; a large entry must not take along those next to it.
        const middle = batch.length >> 1
        await this.#send(batch.slice(0, middle))
        await this.#send(batch.slice(middle))
        return
      }
      if (answer.status !== 200) throw failureOf(answer)
      const appended = readAppended(answer.body)
      isRecorded = typeof appended.batch === 'number'
      this.#settle(batch, appended)
    } catch (cause) {
      for (const each of batch) this.#failed(each, cause)
    }
    this.#chain.end(stated, isRecorded)
  }

  #ask(batch: readonly Waiting[], statement: Uint8Array) {
    return this.#agent
      .request({
        method: 'POST',
        path: '/v1/mesh/entries',
        contentType: 'application/cbor',
        body: encodePackedBatch({ statement, entries: batch.map(({ encoded }) => encoded) }),
        signal: AbortSignal.timeout(appendTimeoutMs),
      })
      .catch((cause: unknown) => {
        throw new Unanswered(`the fabric did not answer: ${String(cause)}`, { cause })
      })
  }

  #settle(batch: readonly Waiting[], { indexes, limits = [] }: Appended): void {
    if (indexes.length < batch.length) throw new Error('the fabric answered for fewer entries')
    for (const [at, each] of batch.entries()) {
      const { exchange, kind } = each
      const index = indexes[at] ?? null
      if (index !== null) {
        each.resolve({ exchange, kind, index, leafHash: each.encoded.leafHash })
        continue
      }
      const detail = `the fabric did not record ${exchange}`
      const limit = limitIn(limits[at])
      this.#failed(each, limit === null ? new Error(detail) : new LedgerBusy(limit, detail))
    }
  }

  /** Neither a limit of the fabric nor a broken connection must lose the end of an exchange. */
  #failed(waiting: Waiting, cause: unknown): void {
    const { attempt, reject } = waiting
    const isUnanswered = waiting.isUnanswered || cause instanceof Unanswered
    const mayPass = cause instanceof LedgerBusy || isUnanswered
    if (!mayPass || !closes(waiting) || attempt >= closingAttempts) {
      reject(cause)
      return
    }
    const pauseMs = isUnanswered ? closingPauseMs * 2 ** (attempt - 1) : closingPauseMs
    setTimeout(() => {
      this.#closing.push({ ...waiting, attempt: attempt + 1, isUnanswered })
      this.#start()
    }, pauseMs)
  }
}

/** No answer came, or none that states which entries were recorded. */
class Unanswered extends Error {}

interface Appended {
  /** Of the entry about the batch; null where no entry was new. */
  readonly batch: number | null
  readonly indexes: readonly (number | null)[]
  /** By position: the limit that stopped an entry; absent from fabrics that name none. */
  readonly limits?: readonly unknown[]
}

function readAppended(body: Uint8Array): Appended {
  return JSON.parse(parseUtf8(body)) as Appended
}

const closes = ({ kind }: Pick<EntryDraft, 'kind'>): boolean =>
  kind === 'outcome' || kind === 'indeterminate'

/**
 * A limit that the fabric has reached is named to the connector's own caller; nothing was recorded.
 */
function failureOf({
  status,
  body,
}: {
  readonly status: number
  readonly body: Uint8Array
}): Error {
  const detail = `the fabric answered ${status}`
  const limit = limitIn(limitMember(body))
  if (limit !== null) return new LedgerBusy(limit, detail)
  return status >= 500 ? new Unanswered(detail) : new Error(detail)
}

function limitIn(text: unknown): Limit | null {
  return typeof text === 'string' ? parseLimit(text) : null
}

/** The limit that Problem Details state; undefined if they state none. */
function limitMember(body: Uint8Array): unknown {
  try {
    return (JSON.parse(parseUtf8(body)) as { readonly limit?: unknown }).limit
  } catch {
    return undefined
  }
}

const tooLarge = 413

/**
 * After it, the connector cannot know whether the entries were recorded, and nothing may be
 * delivered.
 */
const appendTimeoutMs = 10_000
