import { foldedWord } from '@countersign/protocol'
import type { Clock } from '../../lib/clock.ts'
import { Refusal, UnknownReference } from '../../lib/refusal.ts'
import { discard } from '../../pipeline/deliver.ts'
import { type Forwarder, type StreamEvent, Undelivered, withheld } from '../../pipeline/delivery.ts'
import { sessionIdLengthMax } from '../../routes/session-places.ts'
import { RecordCache } from '../../state/record-cache.ts'
import { idOfKey, type RecordStore, recordKey } from '../../state/record-store.ts'
import type { TaskReferences } from '../a2a/task-ids.ts'
import type { Head } from '../reading/head.ts'
import {
  addKnown,
  createIdFilter,
  foldedId,
  type IdFilter,
  removeKnown,
} from '../reading/known-ids.ts'
import { visitForm } from '../reading/request-fields.ts'

/** Of a session that is not used. */
const sessionMs = 7 * 24 * 3_600_000
/** A session may end at another process: its owner is read again after this. */
const freshMs = 200

/**
 * Maps each MCP session (up to 2025-11-25) to the caller that owns it, for all processes that share
 * a record store. A session id is not a credential: without this map, any caller that learned one
 * could act in another caller's session. Functions reject when the store cannot be read or written.
 */
export interface McpSessions {
  owner(receiver: string, sessionId: string): Promise<string | null>
  /**
   * Returns the owner that memory holds of an id that `TaskReferences` have folded: null also for a
   * session that another process just opened.
   */
  ownerOfKey(receiver: string, key: string): string | null
  /** The first caller keeps a session. */
  bind(receiver: string, sessionId: string, caller: string): Promise<void>
  end(receiver: string, sessionId: string): Promise<void>
  /** All ids of sessions, for readers of messages. */
  readonly known: IdFilter
  /** Reads what is on record, and follows what other processes add, until `close`. */
  follow(): Promise<void>
  /** Null if `known` was compared with the store a moment ago; else does so, or rejects. */
  current(): Promise<void> | null
  close(): void
}

interface McpSessionsDeps {
  readonly store: RecordStore
  readonly clock: Pick<Clock, 'monotonic'>
}

export function createMcpSessions({ store, clock }: McpSessionsDeps): McpSessions {
  const known = createIdFilter()
  // The client of a forgotten session receives an error and starts a new one.
  const owners = new RecordCache({
    ...{ store, clock, freshMs },
    collection: 'mcp-session',
    lifetimeMs: sessionMs,
    onAdd: (key) => addKnown(known, idOfKey(key)),
    onForget: (key) => removeKnown(known, idOfKey(key)),
  })
  const isKept = (sessionId: string): boolean => sessionId.length <= sessionIdLengthMax
  const keyOf = (receiver: string, sessionId: string): string =>
    recordKey(receiver, foldedId(sessionId))
  return {
    known,
    owner: async (receiver, sessionId) =>
      isKept(sessionId) ? owners.find(keyOf(receiver, sessionId)) : null,
    ownerOfKey: (receiver, key) => (isKept(key) ? owners.held(recordKey(receiver, key)) : null),
    async bind(receiver, sessionId, caller) {
      if (!isKept(sessionId)) return
      await owners.claim(keyOf(receiver, sessionId), caller, recordKey(receiver, caller))
    },
    async end(receiver, sessionId) {
      if (isKept(sessionId)) await owners.remove(keyOf(receiver, sessionId))
    },
    follow: () => owners.follow(),
    current: () => owners.current(),
    close: () => owners.close(),
  }
}

/**
 * Reports whether the query names a session, which only the transport of MCP 2024-11-05 (HTTP+SSE)
 * does. That transport is not carried: any caller that learned the address of a session could use
 * it.
 */
export function namesSession({ path }: Pick<Head, 'path'>): boolean {
  const mark = path.indexOf('?')
  let isNamed = false
  if (mark >= 0) {
    visitForm(path.slice(mark + 1), (_, { whole }) => {
      isNamed ||= whole === 'sessionid' || whole === 'mcpsessionid'
    })
  }
  return isNamed
}

/**
 * Reports whether the event is the one by which that transport sends the address of a session to
 * its client. JSON is not an address.
 */
export function isEndpointEvent({ frame, contentType }: Omit<StreamEvent, 'data'>): boolean {
  if (contentType === 'application/json') return false
  return frame.some(
    ([field, value]) => field === 'event' && foldedWord(value).trim() === 'endpoint',
  )
}

const prefix = 'session '

/** Guards a forwarder: another's session looks like one that never was, and new ones are bound. */
export function withSessions(
  forwarder: Forwarder,
  sessions: McpSessions,
  { mentions, known }: Pick<TaskReferences, 'mentions' | 'known'>,
): Forwarder {
  return async (exchange, still) => {
    const { target, received, caller } = exchange
    const receiver = target.name
    // Read for every kind of request, because the receiver goes by the header alone.
    const sessionId = received.headers.find(([name]) => name === 'mcp-session-id')?.[1]
    const isStrange = (key: string): boolean => {
      const owner = sessions.ownerOfKey(receiver, key)
      return owner !== null && owner !== caller.principal
    }
    const named = mentions
      .filter((key) => key.startsWith(prefix))
      .map((key) => key.slice(prefix.length))
    if (sessionId !== undefined) {
      const owner = await sessions.owner(receiver, sessionId).catch(unreadOwner)
      if (owner instanceof Refusal) return owner
      if (owner !== caller.principal) {
        return new Refusal('RECEIVER_UNKNOWN', 'the MCP session is not one of this caller')
      }
    }
    if ([...named, ...known].some(isStrange)) {
      return new UnknownReference('names an MCP session of another caller')
    }
    const delivered = await forwarder(exchange, still)
    if (delivered instanceof Refusal || delivered instanceof Undelivered) return delivered
    if (sessionId !== undefined && target.operation === 'session/end') {
      // The receiver has ended it, so that a record that stays gives its owner nothing.
      await sessions.end(receiver, sessionId).catch(() => undefined)
      return delivered
    }
    const opened = delivered.headers.find(([name]) => name === 'mcp-session-id')?.[1]
    if (opened === undefined) return delivered
    try {
      await sessions.bind(receiver, opened, caller.principal)
      return delivered
    } catch (cause) {
      discard(delivered)
      return withheld(new Refusal('OUTCOME_UNKNOWN', `no owner of a session: ${String(cause)}`))
    }
  }
}

/** Nothing was sent. */
function unreadOwner(cause: unknown): Refusal {
  return new Refusal('UNDECIDED', `the owner of a session could not be read: ${String(cause)}`)
}
