import { utf8, WATCH_OPERATION } from '@countersign/protocol'
import type { OpenedEntry } from '../ledger/ledger.ts'
import { Refusal } from '../lib/refusal.ts'
import { aboutOperation } from './about-operation.ts'
import { entryView } from './entry-view.ts'
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
      if (operation === WATCH_OPERATION) return Promise.resolve(watch(deps))
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

/** A console that falls this far behind skips to the present instead of filling our memory. */
const watchQueueMax = 1000

function watch(deps: AdminDeps): AdminAnswer {
  const headers = [['content-type', 'text/event-stream']] as const
  const head = { status: 200, headers, contentType: 'text/event-stream', countersignature: null }
  return { ...head, facts: {}, body: { [Symbol.asyncIterator]: () => watchEvents(deps) } }
}

const encoded = new WeakMap<OpenedEntry, Uint8Array>()

/** Written once for all who watch. */
function bytesOf(entry: OpenedEntry): Uint8Array {
  const known = encoded.get(entry)
  if (known !== undefined) return known
  const bytes = utf8(JSON.stringify(entryView(entry)))
  encoded.set(entry, bytes)
  return bytes
}

function watchEvents(deps: AdminDeps): AsyncIterator<WatchEvent> {
  const queue: OpenedEntry[] = []
  let wake = Promise.withResolvers<void>()
  const stop = deps.watchDecisions((entry) => {
    if (queue.length >= watchQueueMax) queue.shift()
    queue.push(entry)
    wake.resolve()
  })
  return {
    async next() {
      while (queue.length === 0) {
        await wake.promise
        wake = Promise.withResolvers<void>()
      }
      const entry = queue.shift()
      if (entry === undefined) return { done: true, value: undefined }
      return {
        done: false,
        value: { data: bytesOf(entry), contentType: 'application/json', frame: [] },
      }
    },
    return() {
      stop()
      return Promise.resolve({ done: true, value: undefined })
    },
  }
}
