import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'
import { foldedName } from './folded-name.ts'
import { isRecord } from './rpc-message.ts'

/** What a request says of tasks and conversations that exist already. */
export interface TaskReferences {
  /** Each is `task <id>` or `context <id>`, so that one kind is never taken for the other. */
  readonly ids: readonly string[]
  /** Whether the response lists tasks, of which each caller may see its own. */
  readonly lists: boolean
  /** Whether the response may speak of a task that it created for this caller. */
  readonly creates: boolean
}

export const noTasks: TaskReferences = { ids: [], lists: false, creates: false }

/** A request that names more than this is not one that a client makes. */
const idsLimit = { name: 'tasks.ids', value: 64, unit: 'count' } as const

/** Names of A2A and MCP, folded, whose parameters call the task's id `id` or `name`. */
const taskMethod = /^(?:tasks\/|(?:get|list|cancel|subscribeto|resubscribeto)tasks?$)/

type Fields = Readonly<Record<string, unknown>>

/**
 * Reads what a JSON-RPC call says of tasks, in A2A 1.0 and 0.3 and in MCP alike: some methods have one
 * name in both, and the receiver goes by its own reading. Members are compared by folded name, as the
 * laxest reader takes them.
 */
export function tasksOfCall(method: string, params: Fields): TaskReferences | Refusal {
  const folded = foldedName(method)
  // The sender's own task, which the receiver asked it for.
  if (folded === 'notifications/tasks/status') return noTasks
  const isAboutTasks = taskMethod.test(folded)
  const ids = new Ids()
  ids.read(params, isAboutTasks ? ['id', 'name'] : [])
  for (const [name, value] of Object.entries(params)) {
    const inner = foldedName(name)
    if (!isRecord(value)) continue
    if (inner === 'message' || inner === 'request') ids.read(value, [])
    if (inner === 'meta') ids.readMeta(value)
    if (inner === 'request') ids.readNested(value)
  }
  const lists = isAboutTasks && folded.includes('list')
  return ids.done({ lists, creates: !lists && !isAboutTasks })
}

/** Without escapes, underscores and anything that folds into other letters. */
const plainPath = /^[\x20-\x24\x26-\x5e\x60-\x7e]*$/
const taskWords = /tasks|message/i

/**
 * Reads what a request of A2A over plain HTTP says of tasks: `/tasks`, `/tasks/{id}` with what may
 * follow, under whatever prefix, and the bodies of `/message:send` and `/message:stream`.
 */
export function tasksOfPath(path: string, body: unknown): TaskReferences | Refusal {
  if (plainPath.test(path) && !taskWords.test(path)) return noTasks
  const [inPath = '', query = ''] = path.split('?', 2)
  const segments = inPath.split('/').map(decoded)
  const at = segments.findIndex((segment) => foldedName(bare(segment)) === 'tasks')
  const sends = segments.some((segment) => /^message:(?:send|stream)$/.test(foldedName(segment)))
  if (at < 0 && !sends) return noTasks
  const ids = new Ids()
  ids.read(Object.fromEntries(new URLSearchParams(query)), [])
  if (isRecord(body)) {
    ids.read(body, [])
    for (const [name, value] of Object.entries(body)) {
      if (foldedName(name) === 'message' && isRecord(value)) ids.read(value, [])
    }
  }
  const id = at < 0 ? '' : idOf(segments[at + 1] ?? '')
  if (id !== '') ids.add('task', id)
  return ids.done({ lists: at >= 0 && id === '', creates: sends })
}

/** Whether a path is one of A2A's over plain HTTP that name a task or send a message. */
export function isAboutTasks(path: string): boolean {
  const tasks = tasksOfPath(path, undefined)
  return tasks instanceof Refusal || tasks !== noTasks
}

export function joinTasks(a: TaskReferences, b: TaskReferences): TaskReferences {
  if (b === noTasks) return a
  if (a === noTasks) return b
  const lists = a.lists || b.lists
  return { ids: [...a.ids, ...b.ids], lists, creates: a.creates || b.creates }
}

/** What the protocols call a new task, or news of one. Any other member is the application's own. */
const creatingNames: ReadonlySet<string> = new Set([
  'task',
  'message',
  'statusupdate',
  'artifactupdate',
])

/** Everything that a response says it created: tasks with their conversations, as `TaskReferences`. */
export function createdIn(value: unknown): readonly string[] {
  const ids = new Ids()
  const root = resultOf(value)
  if (root === null) return []
  ids.readCreated(root)
  for (const [name, inner] of Object.entries(root)) {
    if (creatingNames.has(foldedName(name)) && isRecord(inner)) ids.readCreated(inner)
  }
  return ids.found
}

/** The response with only those of its listed tasks that `isOwn`; null when it lists none. */
export function filterListed(
  value: unknown,
  isOwn: (id: string) => boolean,
): Readonly<Record<string, unknown>> | null {
  if (!isRecord(value)) return null
  const { result } = value
  if (isRecord(result)) {
    const inner = filterListed(result, isOwn)
    return inner === null ? null : { ...value, result: inner }
  }
  if (!Object.keys(value).some((name) => foldedName(name) === 'tasks')) return null
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, member]): [string, unknown][] => {
      const folded = foldedName(name)
      // How many tasks others have is theirs as well.
      if (folded === 'totalsize') return []
      if (folded !== 'tasks' || !Array.isArray(member)) return [[name, member]]
      return [[name, member.filter((task) => isRecord(task) && ownsTask(task, isOwn))]]
    }),
  )
}

function ownsTask(task: Fields, isOwn: (id: string) => boolean): boolean {
  const ids = new Ids()
  ids.read(task, ['id', 'name'])
  const tasks = ids.found.filter((id) => id.startsWith('task '))
  return tasks.length > 0 && tasks.every(isOwn)
}

function resultOf(value: unknown): Fields | null {
  if (!isRecord(value)) return null
  return isRecord(value['result']) ? value['result'] : value
}

/** `123:cancel` is a verb on task `123`; `;` begins parameters that some servers drop. */
function idOf(segment: string): string {
  return bare(segment).replace(/:[a-z]+$/i, '')
}

function bare(segment: string): string {
  return segment.split(';', 1)[0] ?? ''
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    // Nor does a receiver decode it.
    return segment
  }
}

const relatedTask = 'io.modelcontextprotocol/related-task'

class Ids {
  readonly found: string[] = []
  #isMalformed = false

  add(kind: 'task' | 'context', value: unknown): void {
    // Protobuf's JSON leaves out what is empty, and takes null for it.
    if (value === undefined || value === null || value === '') return
    if (typeof value !== 'string' && typeof value !== 'number') this.#isMalformed = true
    else this.found.push(`${kind} ${value}`.replace(/^task tasks\//, 'task '))
  }

  /** `own` are further names, folded, under which this record holds the id of a task. */
  read(record: Fields, own: readonly string[]): void {
    for (const [name, value] of Object.entries(record)) {
      const folded = foldedName(name)
      if (folded === 'taskid' || own.includes(folded)) this.add('task', value)
      if (folded === 'contextid') this.add('context', value)
      if (folded !== 'referencetaskids' && folded !== 'taskids') continue
      for (const one of Array.isArray(value) ? (value as unknown[]) : [value]) this.add('task', one)
    }
  }

  /** An old binding wraps the whole request once more. */
  readNested(request: Fields): void {
    for (const [name, value] of Object.entries(request)) {
      if (foldedName(name) === 'message' && isRecord(value)) this.read(value, [])
    }
  }

  readMeta(meta: Fields): void {
    for (const [name, value] of Object.entries(meta)) {
      if (name.toLowerCase() === relatedTask && isRecord(value)) this.read(value, [])
    }
  }

  /** A task calls its own id `id`, and is known by its state. */
  readCreated(record: Fields): void {
    const isTask = record['kind'] === 'task' || 'status' in record
    this.read(record, isTask ? ['id'] : [])
  }

  done(what: Pick<TaskReferences, 'lists' | 'creates'>): TaskReferences | Refusal {
    if (this.found.length > idsLimit.value) return overLimit('MESSAGE_MALFORMED', idsLimit)
    if (this.#isMalformed) {
      return new Refusal('MESSAGE_MALFORMED', 'ids of tasks that readers could take in two ways')
    }
    return { ids: this.found, ...what }
  }
}
