import { isJsonEssence, parseMediaType } from '@countersign/protocol'
import { Refusal, Withdrawal } from '../../lib/refusal.ts'
import type { Authorized } from '../../pipeline/authorize.ts'
import {
  type Courier,
  type Delivered,
  type StreamEvent,
  Undelivered,
  withheld,
} from '../../pipeline/delivery.ts'
import type { Intended } from '../../pipeline/record.ts'
import { createIdFilter, type IdFilter } from './known-ids.ts'
import { OwnedIds } from './owned-ids.ts'
import type { TaskReferences } from './task-ids.ts'
import type { TaskReader } from './task-reader.ts'

const taskLimits = { totalMax: 200_000, perOwnerMax: 10_000 }
const eventLimits = { totalMax: 200_000, perOwnerMax: 2_000 }

/** Whose tasks, conversations and resumable streams are whose, at one gateway or connector. */
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
  /** Whether ids of events are of one caller, as in A2A and MCP, and not of a feed for everyone. */
  readonly ownsEvents: boolean
  /** Whether policy lets this caller at tasks of `owner`; empty where it is not known. */
  mayReach(authorized: Authorized, owner: string): boolean
}

/**
 * Guards a courier: a task belongs to the caller whose request created it. Another's task looks like one
 * that never was, in every operation; lists are cut down to the caller's own; and what a response
 * creates is remembered as its caller's.
 */
export function withTasks(courier: Courier, guard: TaskGuard): Courier {
  return async (intended, still) => {
    const { authorized } = intended.inspected
    const { arrival } = authorized.authenticated
    const receiver = arrival.target.name
    const owner = authorized.authenticated.caller.name
    const strange = strangersOf(guard, receiver, owner)
    const mayGo = () => strange.every((each) => guard.mayReach(authorized, each))
    if (!mayGo()) return new Refusal('RECEIVER_UNKNOWN', 'the task is not one of this caller')
    if (!ownsEvents(guard, receiver, owner)) {
      return new Refusal('RECEIVER_UNKNOWN', 'the stream to go on with is not one of this caller')
    }
    const delivered = await courier(intended, still)
    if (delivered instanceof Refusal || delivered instanceof Undelivered) return delivered
    if (!mayGo()) return tooLate(delivered)
    return watched(delivered, intended, { ...guard, mayGo })
  }
}

const noStrangers: readonly string[] = []

/** The owners, other than the caller, of what the request names; empty for one that is not known. */
function strangersOf(
  { owners, references }: TaskGuard,
  receiver: string,
  caller: string,
): readonly string[] {
  // Most requests name none.
  const { ids: named, mentions, known } = references
  if (named.length === 0 && mentions.length === 0 && known.length === 0) return noStrangers
  const ids = named.filter((id) => !id.startsWith(event))
  const found = ids.map((id) => owners.tasks.find(receiver, id) ?? '')
  for (const id of mentions) {
    const owner = owners.tasks.find(receiver, id)
    if (owner !== null) found.push(owner)
  }
  for (const id of known) {
    for (const kind of ['task', 'context']) {
      const owner = owners.tasks.find(receiver, `${kind} ${id}`)
      if (owner !== null) found.push(owner)
    }
  }
  return [...new Set(found.filter((owner) => owner !== caller))]
}

const event = 'event '

/** Policy lets no one at the streams of others. */
function ownsEvents({ owners, references }: TaskGuard, receiver: string, caller: string): boolean {
  const ownerOf = (id: string) => owners.events.find(receiver, id.slice(event.length))
  const { ids, mentions } = references
  if (!ids.every((id) => !id.startsWith(event) || ownerOf(id) === caller)) return false
  return mentions.every((id) => !id.startsWith(event) || (ownerOf(id) ?? caller) === caller)
}

function tooLate({ body }: Delivered): Undelivered {
  if (!(body instanceof Uint8Array)) void body[Symbol.asyncIterator]().return?.()
  return withheld(new Withdrawal('policy-denies', 'policy no longer permits tasks of others'))
}

type Watch = TaskGuard & { mayGo(): boolean }

async function watched(
  delivered: Delivered,
  intended: Intended,
  watch: Watch,
): Promise<Delivered | Undelivered> {
  const { body } = delivered
  const seen = createSight(intended, watch)
  if (!(body instanceof Uint8Array)) return { ...delivered, body: eventsOf(body, seen) }
  const fault = watch.references.creates ? await seen.learn(body) : null
  if (fault !== null) return withheld(fault)
  const { lists, isFile } = watch.references
  // An error lists nothing.
  if (!(lists || (isFile && mayBeJson(delivered))) || delivered.status >= 400) return delivered
  const { rewrite } = delivered
  return {
    ...delivered,
    rewrite: async (bytes) => {
      const given = (await rewrite?.(bytes)) ?? bytes
      return given instanceof Refusal ? given : seen.filter(given)
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
  filter(data: Uint8Array): Promise<Uint8Array | Refusal>
  /** One event as it may pass. Throws when the stream may not go on. */
  pass(event: StreamEvent): Promise<StreamEvent>
}

function createSight(intended: Intended, watch: Watch): Sight {
  const { authorized } = intended.inspected
  const receiver = authorized.authenticated.arrival.target.name
  const { name: owner } = authorized.authenticated.caller
  const { tasks, events } = watch.owners
  const isOwn = (id: string): boolean => {
    const found = tasks.find(receiver, id) ?? ''
    return found === owner || watch.mayReach(authorized, found)
  }
  const sight: Sight = {
    async learn(data) {
      const created = await watch.reader.createdIn(data, receiver)
      if (created instanceof Refusal) return unreadAnswer(created)
      for (const id of created) tasks.claim(receiver, id, owner)
      return null
    },
    async filter(data) {
      const listed = await watch.reader.listedIn(data, receiver)
      if (listed instanceof Refusal) return unreadAnswer(listed)
      const filtered = await watch.reader.filtered(data, listed.filter(isOwn), receiver)
      return filtered instanceof Refusal ? unreadAnswer(filtered) : filtered
    },
    async pass(event) {
      if (!watch.mayGo()) throw new Error('policy no longer permits tasks of others')
      const id = event.frame.findLast(([field]) => field === 'id')?.[1]
      if (id !== undefined && watch.ownsEvents) events.claim(receiver, id, owner)
      const fault = watch.references.creates ? await sight.learn(event.data) : null
      if (fault !== null) throw new Error(fault.detail)
      const { lists, isFile } = watch.references
      const mayList = lists || (isFile && event.contentType === 'application/json')
      if (!mayList || event.data.length === 0) return event
      const data = await sight.filter(event.data)
      if (data instanceof Refusal) throw new Error(data.detail)
      return { ...event, data }
    },
  }
  return sight
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

/** The receiver has acted, and what it answered is not known to be the caller's. */
function unreadAnswer({ code, detail, limit }: Refusal): Refusal {
  return new Refusal('RESPONSE_REJECTED', `${code}: ${detail}`, null, { limit })
}
