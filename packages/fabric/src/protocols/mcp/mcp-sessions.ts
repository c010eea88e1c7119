import { foldedWord } from '@countersign/protocol'
import { Refusal, UnknownReference } from '../../lib/refusal.ts'
import { type Forwarder, type StreamEvent, Undelivered } from '../../pipeline/delivery.ts'
import { SessionTable, sessionIdLengthMax } from '../../routes/session-table.ts'
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

/**
 * Maps each MCP session (up to 2025-11-25) to the caller that owns it. A session id is not a
 * credential: without this map, any caller that learned one could act in another caller's session.
 */
export interface McpSessions {
  owner(receiver: string, sessionId: string): string | null
  /** As `owner`, of an id that `TaskReferences` have folded. */
  ownerOfKey(receiver: string, key: string): string | null
  bind(receiver: string, sessionId: string, caller: string): void
  end(receiver: string, sessionId: string): void
  /** All ids of sessions, for readers of messages. */
  readonly known: IdFilter
}

export function createMcpSessions(): McpSessions {
  const known = createIdFilter()
  // The client of a forgotten session receives an error and starts a new one.
  const owners = new SessionTable<string>({ onForget: (id) => removeKnown(known, id) })
  return {
    known,
    owner(receiver, sessionId) {
      if (sessionId.length > sessionIdLengthMax) return null
      return owners.find(receiver, foldedId(sessionId))
    },
    ownerOfKey: (receiver, key) => owners.find(receiver, key),
    bind(receiver, sessionId, caller) {
      if (sessionId.length > sessionIdLengthMax) return
      const key = foldedId(sessionId)
      if (owners.find(receiver, key) === null) addKnown(known, sessionId)
      owners.set(receiver, key, caller)
    },
    end: (receiver, sessionId) => owners.delete(receiver, foldedId(sessionId)),
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
    const isMine = (id: string): boolean => sessions.owner(receiver, id) === caller.spiffeId
    const isStrange = (key: string): boolean => {
      const owner = sessions.ownerOfKey(receiver, key)
      return owner !== null && owner !== caller.spiffeId
    }
    const named = mentions
      .filter((key) => key.startsWith(prefix))
      .map((key) => key.slice(prefix.length))
    if (sessionId !== undefined && !isMine(sessionId)) {
      return new Refusal('RECEIVER_UNKNOWN', 'the MCP session is not one of this caller')
    }
    if ([...named, ...known].some(isStrange)) {
      return new UnknownReference('names an MCP session of another caller')
    }
    const delivered = await forwarder(exchange, still)
    if (delivered instanceof Refusal || delivered instanceof Undelivered) return delivered
    if (sessionId !== undefined && target.operation === 'session/end') {
      sessions.end(receiver, sessionId)
    }
    const opened = delivered.headers.find(([name]) => name === 'mcp-session-id')?.[1]
    if (opened !== undefined && sessions.owner(receiver, opened) === null) {
      sessions.bind(receiver, opened, caller.spiffeId)
    }
    return delivered
  }
}
