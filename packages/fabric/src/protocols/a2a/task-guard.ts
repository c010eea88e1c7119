import { isJsonEssence, parseMediaType } from '@countersign/protocol'
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
import { createIdFilter, type IdFilter } from '../reading/known-ids.ts'
import { OwnedIds } from './owned-ids.ts'
import { event, ownersLimit, type ReachedOwners } from './reached-owners.ts'
import type { TaskReferences } from './task-ids.ts'
import { LAX, type TaskReader } from './task-reader.ts'

const taskLimits = { totalMax: 200_000, perOwnerMax: 10_000 }
const eventLimits = { totalMax: 200_000, perOwnerMax: 2_000 }

/** The owners of tasks, conversations and resumable streams at one gateway or connector. */
export interface TaskOwners {
  readonly tasks: OwnedIds
  readonly events: OwnedIds
  /** All ids of tasks and conversations, for readers of messages. */
  readonly known: IdFilter
}

export function createTaskOwners(): TaskOwners {
  const known = createIdFilter()
  return { tasks: new OwnedIds(taskLimits, known), events: new OwnedIds(eventLimits), known }
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
    const caller = exchange.caller.name
    if ((guard.reached?.of(caller).size ?? 0) > ownersLimit.value) {
      return overLimit('MESSAGE_MALFORMED', ownersLimit)
    }
    if (!ownsEvents(guard, receiver, caller)) {
      return new UnknownReference('the stream to go on with is not one of this caller')
    }
    const delivered = await forwarder(exchange, still)
    if (delivered instanceof Refusal || delivered instanceof Undelivered) return delivered
    return watched(delivered, exchange, guard)
  }
}

/** No policy can permit access to the streams of others. */
function ownsEvents({ owners, references }: TaskGuard, receiver: string, caller: string): boolean {
  const ownerOf = (key: string) => owners.events.findKey(receiver, key)
  const { ids, mentions } = references
  if (!ids.every((id) => !id.startsWith(event) || ownerOf(id) === caller)) return false
  return mentions.every((id) => !id.startsWith(event) || (ownerOf(id) ?? caller) === caller)
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
  const { name: owner } = exchange.caller
  const { tasks, events } = watch.owners
  const shown = new ShownOwners(exchange, watch)
  const shownOf = (listed: readonly string[]): readonly string[] | Refusal => {
    const kept: string[] = []
    shown.begin()
    for (const id of listed) {
      const isLax = id.startsWith(LAX)
      const named = tasks.findKey(receiver, isLax ? id.slice(LAX.length) : id)
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
      for (const id of created) tasks.claim(receiver, id, owner)
      return null
    },
    async filter(data, isError = false) {
      const listed = await watch.reader.listedIn(data, account)
      if (listed instanceof Refusal) return uninspectedAnswer(listed)
      const kept = shownOf(listed)
      if (kept instanceof Refusal) return kept
      const { reader } = watch
      const filtered = await (isError
        ? reader.filteredError(data, kept, account)
        : reader.filtered(data, kept, account))
      return filtered instanceof Refusal ? uninspectedAnswer(filtered) : filtered
    },
    async pass(event) {
      const id = event.frame.findLast(([field]) => field === 'id')?.[1]
      if (id !== undefined && watch.ownsEvents) events.claim(receiver, eventKey(id), owner)
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
  readonly #caller: string
  #open = new Set<string>()
  /**
   * Closed until the exchange ends, so that a stream of lists does not ask for each with each
   * event.
   */
  readonly #closed = new Set<string>()

  constructor(exchange: Exchange<Authorized>, watch: TaskGuard) {
    this.#exchange = exchange
    this.#watch = watch
    this.#caller = exchange.caller.name
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
