import { Refusal } from '../../lib/refusal.ts'
import { type Courier, Undelivered } from '../../pipeline/delivery.ts'
import type { TaskReferences } from './task-ids.ts'

/**
 * Which caller an MCP session (up to 2025-11-25) belongs to. A session id is no credential: whoever
 * learned one could otherwise speak in another caller's session.
 */
export interface McpSessions {
  owner(receiver: string, sessionId: string): string | null
  bind(receiver: string, sessionId: string, caller: string): void
  end(receiver: string, sessionId: string): void
}

/** Beyond this the oldest session is forgotten; its client is told so and starts a new one. */
const sessionsMax = 100_000

export function createMcpSessions(): McpSessions {
  const owners = new Map<string, string>()
  const keyOf = (receiver: string, sessionId: string) => `${receiver}\n${sessionId}`
  return {
    owner: (receiver, sessionId) => owners.get(keyOf(receiver, sessionId)) ?? null,
    bind(receiver, sessionId, caller) {
      owners.set(keyOf(receiver, sessionId), caller)
      if (owners.size <= sessionsMax) return
      const [oldest] = owners.keys()
      if (oldest !== undefined) owners.delete(oldest)
    },
    end: (receiver, sessionId) => void owners.delete(keyOf(receiver, sessionId)),
  }
}

const prefix = 'session '

/** Guards a courier: another's session looks like one that never was, and new ones are bound. */
export function withSessions(
  courier: Courier,
  sessions: McpSessions,
  { mentions }: Pick<TaskReferences, 'mentions'>,
): Courier {
  return async (intended, still) => {
    const { arrival, caller } = intended.inspected.authorized.authenticated
    const receiver = arrival.target.name
    // Whatever the request was taken for: the receiver goes by the header alone.
    const sessionId = arrival.message.headers.find(([name]) => name === 'mcp-session-id')?.[1]
    const isMine = (id: string): boolean => sessions.owner(receiver, id) === caller.spiffeId
    const isStrange = (id: string): boolean => sessions.owner(receiver, id) !== null && !isMine(id)
    const named = mentions
      .filter((id) => id.startsWith(prefix))
      .map((id) => id.slice(prefix.length))
    if ((sessionId !== undefined && !isMine(sessionId)) || named.some(isStrange)) {
      return new Refusal('RECEIVER_UNKNOWN', 'the MCP session is not one of this caller')
    }
    const delivered = await courier(intended, still)
    if (delivered instanceof Refusal || delivered instanceof Undelivered) return delivered
    if (sessionId !== undefined && arrival.target.operation === 'session/end') {
      sessions.end(receiver, sessionId)
    }
    const opened = delivered.headers.find(([name]) => name === 'mcp-session-id')?.[1]
    if (opened !== undefined && sessions.owner(receiver, opened) === null) {
      sessions.bind(receiver, opened, caller.spiffeId)
    }
    return delivered
  }
}
