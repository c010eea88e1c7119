import { type FollowedEntry, utf8, WATCH_OPERATION } from '@countersign/protocol'
import { z } from 'zod'
import type { OpenedEntry } from '../ledger/ledger-reads.ts'
import { Refusal } from '../lib/refusal.ts'
import { aboutOperation } from './about-operation.ts'
import { entryView } from './entry-view.ts'
import { formatCursor } from './ledger-cursor.ts'
import { type ReadLog, withCursor } from './log-operations.ts'
import { type AdminRequest, isOperation, OPERATIONS } from './operations.ts'
import type { AdminDeps } from './ports.ts'

/** One event of the answer to `decisions.watch`. */
interface WatchEvent {
  readonly data: Uint8Array
  readonly contentType: 'application/json'
  readonly frame: readonly (readonly [string, string])[]
}

/** The answer of an operation, in the shape that the pipeline expects of any receiver. */
interface AdminAnswer {
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
  readonly contentType: string
  readonly body: Uint8Array | AsyncIterable<WatchEvent>
  readonly countersignature: null
  readonly facts: Readonly<Record<string, string>>
}

/**
 * The receiver named `fabric`: carries out administrative requests that the pipeline let through.
 */
export function createAdministration(deps: AdminDeps) {
  return {
    actionOf(operation: string): 'read' | 'administer' | null {
      if (operation === WATCH_OPERATION) return 'read'
      return isOperation(operation) ? OPERATIONS[operation].action : null
    },
    aboutOf: aboutOperation,
    carryOut(
      operation: string,
      args: unknown,
      request: AdminRequest,
    ): Promise<AdminAnswer | Refusal> {
      if (operation === WATCH_OPERATION) return watch(deps, args, request)
      return carryOut(deps, { operation, args }, request)
    },
  }
}

async function carryOut(
  deps: AdminDeps,
  { operation, args }: { readonly operation: string; readonly args: unknown },
  request: AdminRequest,
): Promise<AdminAnswer | Refusal> {
  if (!isOperation(operation)) return new Refusal('OPERATION_UNKNOWN', operation)
  const { args: schema, run } = OPERATIONS[operation]
  const parsed = schema.safeParse(args)
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
    return new Refusal('MESSAGE_MALFORMED', faults.join('; '))
  }
  // Each row pairs its own schema with its own function; the union of rows forgets that they match.
  const carry = run as (deps: AdminDeps, args: unknown, request: AdminRequest) => unknown
  const result = await carry(deps, parsed.data, request)
  if (result instanceof Refusal) return result
  return {
    status: 200,
    headers: [['content-type', 'application/json']],
    contentType: 'application/json',
    body: utf8(JSON.stringify({ result })),
    countersignature: null,
    facts: {},
  }
}

const watchArgs = z.strictObject({ after: z.string().max(64).optional() })

/** Entries from now on, or after a cursor. One that reads slowly falls behind, and misses none. */
function watch(
  { ledger: { reads: log } }: AdminDeps,
  args: unknown,
  { caller }: AdminRequest,
): Promise<AdminAnswer | Refusal> {
  const parsed = watchArgs.safeParse(args)
  if (!parsed.success) {
    return Promise.resolve(new Refusal('MESSAGE_MALFORMED', 'after: a cursor is expected'))
  }
  const headers = [['content-type', 'text/event-stream']] as const
  const head = { status: 200, headers, contentType: 'text/event-stream', countersignature: null }
  const after = parsed.data.after ?? formatCursor(log, log.size)
  return withCursor(log, after, (from) => {
    const follower = log.follow({ from, owner: caller.principal })
    const events = watchEvents(log, follower)
    return { ...head, facts: {}, body: { [Symbol.asyncIterator]: () => events } }
  })
}

const encoded = new WeakMap<OpenedEntry, Uint8Array>()

/** Written once for all who watch at the same place. */
function bytesOf(entry: OpenedEntry, log: ReadLog): Uint8Array {
  const known = encoded.get(entry)
  if (known !== undefined) return known
  const view: FollowedEntry = { ...entryView(entry), cursor: formatCursor(log, entry.index + 1) }
  const bytes = utf8(JSON.stringify(view))
  encoded.set(entry, bytes)
  return bytes
}

function watchEvents(
  log: ReadLog,
  follower: AsyncIterableIterator<OpenedEntry>,
): AsyncIterator<WatchEvent> {
  return {
    async next() {
      const { done, value } = await follower.next()
      if (done === true) return { done, value: undefined }
      const data = bytesOf(value, log)
      return { done: false, value: { data, contentType: 'application/json', frame: [] } }
    },
    async return() {
      await follower.return?.()
      return { done: true, value: undefined }
    },
  }
}
