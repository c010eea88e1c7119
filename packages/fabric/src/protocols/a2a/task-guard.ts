import { isJsonEssence, type PrincipalKey, parseMediaType } from '@countersign/protocol'
import type { Clock } from '../../lib/clock.ts'
import { overLimit } from '../../lib/limits.ts'
import { Refusal, UnknownReference } from '../../lib/refusal.ts'
import { RejectedError } from '../../lib/upstream-error.ts'
import type { Authorized } from '../../pipeline/authorize.ts'
import {
  type Delivered,
  type Forwarder,
  type StreamEvent,
  Undelivered,
  uninspectedAnswer,
  withheld,
} from '../../pipeline/delivery.ts'
import type { Exchange } from '../../pipeline/exchange.ts'
import { accountOfAnswer } from '../../pipeline/large-bodies.ts'
import type { Intended } from '../../pipeline/record.ts'
import type { RecordStore } from '../../state/record-store.ts'
import { createIdFilter, type IdFilter } from '../reading/known-ids.ts'
import { OwnedIds } from './owned-ids.ts'
import { event, ownersLimit, type ReachedOwners } from './reached-owners.ts'
import type { TaskReferences } from './task-ids.ts'
import { LAX, type TaskReader } from './task-reader.ts'

const dayMs = 24 * 3_600_000
/** Of a task or conversation that is not referred to. */
const taskMs = 30 * dayMs
/** Of an event after which a stream may be resumed. */
const eventMs = dayMs

/**
 * The owners of tasks, conversations and resumable streams, of all processes that share a record
 * store.
 */
export interface TaskOwners {
  readonly tasks: OwnedIds
  readonly events: OwnedIds
  /** All ids of tasks and conversations, for readers of messages. */
  readonly known: IdFilter
  /** Reads what is on record, and follows what other processes add, until `close`. */
  follow(): Promise<void>
  /** Null if `known` was compared with the store a moment ago; else does so, or rejects. */
  current(): Promise<unknown> | null
  close(): void
}

interface TaskOwnersDeps {
  readonly store: RecordStore
  readonly clock: Pick<Clock, 'monotonic'>
}

export function createTaskOwners({ store, clock }: TaskOwnersDeps): TaskOwners {
  const known = createIdFilter()
  const tasks = new OwnedIds({ store, clock, known, collection: 'task', lifetimeMs: taskMs })
  const events = new OwnedIds({ store, clock, collection: 'event', lifetimeMs: eventMs })
  return {
    ...{ tasks, events, known },
    async follow() {
      await tasks.follow()
      await events.follow()
    },
    current() {
      const [first, second] = [tasks.current(), events.current()]
      return first === null && second === null ? null : Promise.all([first, second])
    },
    close() {
      tasks.close()
      events.close()
    },
  }
}

export interface TaskGuard {
  readonly owners: TaskOwners
  readonly references: TaskReferences
  readonly reader: TaskReader
  /**
   * True if event ids belong to one caller, as in A2A and MCP; false for a feed that every caller
   * may read.
   */
  readonly ownsEvents: boolean
  /** Absent where the exchange has nothing to do with tasks. */
  readonly reached: ReachedOwners | null
  /**
   * Reports whether policy permits this caller to reach tasks of `owner`; `owner` is empty if not
   * known.
   */
  mayReach(exchange: Exchange<Authorized>, owner: string): boolean
}

/** Each of them is decided on whenever the right to go on is. */
const listedLimit = { name: 'tasks.ownersListed', value: 256, unit: 'count' } as const
/** Tasks of a list that memory does not hold; further ones count as unknown, and are cut. */
const listedReadsMax = 64
/** Those whose tasks the caller may not see, and whose receiver leaves it to us to cut them. */
const cutLimit = { name: 'tasks.ownersCut', value: 1_024, unit: 'count' } as const

/**
 * Guards a forwarder: a task belongs to the caller whose request created it. Another's task looks
 * like one that never was, in every operation, which the pipeline decides by `Target.strangers`,
 * here `reached`; lists are cut down to the caller's own; and what a response creates is remembered
 * as its caller's.
 */
export function withTasks(forwarder: Forwarder, guard: TaskGuard): Forwarder {
  return async (exchange, still) => {
    const receiver = exchange.target.name
    const caller = exchange.caller.principal
    if ((guard.reached?.of(caller).size ?? 0) > ownersLimit.value) {
      return overLimit('MESSAGE_MALFORMED', ownersLimit)
    }
    const given = ownsEvents(guard, receiver, caller)
    const owns = given instanceof Promise ? await given.catch(unreadOwners) : given
    if (owns instanceof Refusal) return owns
    if (!owns) return new UnknownReference('the stream to go on with is not one of this caller')
    const delivered = await forwarder(exchange, still)
    if (delivered instanceof Refusal || delivered instanceof Undelivered) return delivered
    return watched(delivered, exchange, guard)
  }
}

/** No policy can permit access to the streams of others. */
function ownsEvents(
  { owners, references }: TaskGuard,
  receiver: string,
  caller: PrincipalKey,
): boolean | Promise<boolean> {
  const isEvent = (id: string): boolean => id.startsWith(event)
  const mayName = (id: string) => (owners.events.findKey(receiver, id) ?? caller) === caller
  const mayNameAll = () => references.mentions.every((id) => !isEvent(id) || mayName(id))
  const ids = references.ids.filter(isEvent)
  if (ids.length === 0) return mayNameAll()
  return owners.events
    .read(receiver, ids)
    .then((read) => ids.every((id) => read.get(id) === caller) && mayNameAll())
}

/** Nothing was sent. */
function unreadOwners(cause: unknown): Refusal {
  return new Refusal('UNDECIDED', `owners could not be read: ${String(cause)}`)
}

/** The receiver acted. An id without an owner on record would not be its caller's elsewhere. */
function unwrittenOwner(cause: unknown): Refusal {
  return new Refusal('OUTCOME_UNKNOWN', `an owner could not be written: ${String(cause)}`)
}

async function watched(
  delivered: Delivered,
  exchange: Exchange<Intended>,
  watch: TaskGuard,
): Promise<Delivered | Undelivered> {
  const { body } = delivered
  const seen = createSight(exchange, watch)
  if (!(body instanceof Uint8Array)) return { ...delivered, body: eventsOf(body, seen) }
  const fault = watch.references.creates ? await seen.learn(body) : null
  if (fault !== null) return withheld(fault)
  const { lists, isFile } = watch.references
  const isError = delivered.status >= 400
  if (!(lists || (isFile && mayBeJson(delivered)))) return delivered
  const { rewrite } = delivered
  return {
    ...delivered,
    rewrite: async (bytes) => {
      const given = (await rewrite?.(bytes)) ?? bytes
      if (given instanceof Refusal) return given
      // To HEAD, or with 204 or 304: without content, nothing is listed.
      return given.length === 0 ? given : seen.filter(given, isError)
    },
  }
}

function mayBeJson({ headers }: Delivered): boolean {
  const type = headers.find(([name]) => name === 'content-type')?.[1]
  const media = type === undefined ? null : parseMediaType(type)
  return media === null || isJsonEssence(media.essence)
}

interface Sight {
  /** The refusal of what could not be read. */
  learn(data: Uint8Array): Promise<Refusal | null>
  filter(data: Uint8Array, isError?: boolean): Promise<Uint8Array | Refusal>
  /** One event as it may pass. Throws when the stream may not go on. */
  pass(event: StreamEvent): Promise<StreamEvent>
}

function createSight(exchange: Exchange<Intended>, watch: TaskGuard): Sight {
  const receiver = exchange.target.name
  const account = accountOfAnswer(exchange)
  const { principal: owner } = exchange.caller
  const { tasks, events } = watch.owners
  const shown = new ShownOwners(exchange, watch)
  const shownOf = async (listed: readonly string[]): Promise<readonly string[] | Refusal> => {
    const isUnheld = (id: string) => !id.startsWith(LAX) && tasks.findKey(receiver, id) === null
    const read = await tasks.read(receiver, listed.filter(isUnheld).slice(0, listedReadsMax))
    const kept: string[] = []
    shown.begin()
    for (const id of listed) {
      const isLax = id.startsWith(LAX)
      const key = isLax ? id.slice(LAX.length) : id
      const named = read.get(key) ?? tasks.findKey(receiver, key)
      const isShown = named === null && isLax ? true : shown.has(named ?? '')
      if (isShown instanceof Refusal) return isShown
      if (isShown) kept.push(id)
    }
    return kept
  }
  const sight: Sight = {
    async learn(data) {
      const created = await watch.reader.createdIn(data, account)
      if (created instanceof Refusal) return uninspectedAnswer(created)
      if (created.length === 0) return null
      return tasks.claim(receiver, created, owner).then(() => null, unwrittenOwner)
    },
    async filter(data, isError = false) {
      const listed = await watch.reader.listedIn(data, account)
      if (listed instanceof Refusal) return uninspectedAnswer(listed)
      const kept = await shownOf(listed).catch((cause: unknown) =>
        uninspectedAnswer(unreadOwners(cause)),
      )
      if (kept instanceof Refusal) return kept
      const { reader } = watch
      const filtered = await (isError
        ? reader.filteredError(data, kept, account)
        : reader.filtered(data, kept, account))
      return filtered instanceof Refusal ? uninspectedAnswer(filtered) : filtered
    },
    async pass(event) {
      const id = event.frame.findLast(([field]) => field === 'id')?.[1]
      if (id !== undefined && watch.ownsEvents) {
        const lost = await events
          .claim(receiver, [eventKey(id)], owner)
          .then(() => null, unwrittenOwner)
        if (lost !== null) throw new RejectedError(lost)
      }
      const fault = watch.references.creates ? await sight.learn(event.data) : null
      if (fault !== null) throw new RejectedError(fault)
      const { lists, isFile } = watch.references
      const mayList = lists || (isFile && event.contentType === 'application/json')
      if (!mayList || event.data.length === 0) return event
      const data = await sight.filter(event.data)
      if (data instanceof Refusal) throw new RejectedError(data)
      return { ...event, data }
    },
  }
  return sight
}

const eventKey = (id: string): string => `${event}${id}`

/** The owners of the tasks that the answers of one exchange show. */
class ShownOwners {
  readonly #exchange: Exchange<Authorized>
  readonly #watch: TaskGuard
  readonly #caller: PrincipalKey
  #open = new Set<string>()
  /**
   * Closed until the exchange ends, so that a stream of lists does not ask for each with each
   * event.
   */
  readonly #closed = new Set<string>()

  constructor(exchange: Exchange<Authorized>, watch: TaskGuard) {
    this.#exchange = exchange
    this.#watch = watch
    this.#caller = exchange.caller.principal
  }

  /** For each list, policy is asked again for those that were open. */
  begin(): void {
    this.#open = new Set([this.#caller])
  }

  /** Each owner is decided on once, and stays among those that the exchange has to be permitted. */
  has(owner: string): boolean | Refusal {
    if (this.#open.has(owner)) return true
    if (this.#closed.has(owner)) return false
    if (!this.#watch.mayReach(this.#exchange, owner)) {
      this.#closed.add(owner)
      const isBounded = this.#closed.size <= cutLimit.value
      return isBounded ? false : overLimit('RESPONSE_REJECTED', cutLimit)
    }
    this.#open.add(owner)
    const { reached } = this.#watch
    reached?.add(this.#caller, owner)
    const isBounded = (reached?.of(this.#caller).size ?? 0) <= listedLimit.value
    return isBounded ? true : overLimit('RESPONSE_REJECTED', listedLimit)
  }
}

function eventsOf(source: AsyncIterable<StreamEvent>, sight: Sight): AsyncIterable<StreamEvent> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = source[Symbol.asyncIterator]()
      return {
        async next() {
          const next = await iterator.next()
          return next.done === true ? next : { done: false, value: await sight.pass(next.value) }
        },
        return: () => iterator.return?.() ?? Promise.resolve({ done: true, value: undefined }),
      }
    },
  }
}
