import { Refusal } from '../../lib/refusal.ts'
import { foldedName } from './folded-name.ts'
import { type PathSegment, readPathSegments } from './path-segments.ts'
import { isRecord } from './rpc-message.ts'
import { type Fields, noTasks, TaskIds, type TaskReferences } from './task-ids.ts'

/** Methods of A2A and MCP, folded, whose parameters call the task's id `id` or `name`. */
const taskMethod = /^(?:get|list|cancel|subscribeto|resubscribeto)tasks?$/
const sendMethods: ReadonlySet<string> = new Set(['sendmessage', 'sendstreamingmessage'])

/** `pkg.Service/GetTask` and `tasks.get` are what some servers call `GetTask` and `tasks/get`. */
function isTaskMethod(folded: string): boolean {
  const words = folded.split(/[/.:]/)
  return words.slice(0, -1).includes('tasks') || taskMethod.test(words.at(-1) ?? '')
}

/** A record that some bindings put around the parameters once more. */
const wrappers: ReadonlySet<string> = new Set(['request', 'params'])

/**
 * Reads what a JSON-RPC call says of tasks, in A2A 1.0 and 0.3 and in MCP alike: some methods have one
 * name in both, and the receiver goes by its own reading. Members are compared by folded name, as the
 * laxest reader takes them. A call about a task that names none where it is looked for is refused.
 */
export function tasksOfCall(method: string, params: Fields): TaskReferences | Refusal {
  const folded = foldedName(method)
  const ids = new TaskIds()
  // The sender's own task, which the receiver asked it for: not known here, unless it is another's.
  const isStatus = folded === 'notifications/tasks/status'
  const isAboutTasks = !isStatus && isTaskMethod(folded)
  if (!isStatus) readParams(ids, params, isAboutTasks ? ['id', 'name'] : [])
  ids.mentionAll(params, isAboutTasks)
  const lists = isAboutTasks && folded.includes('list')
  if (isAboutTasks && !lists && ids.found.length === 0) return namesNone(method)
  return ids.done({ lists, creates: !lists && !isAboutTasks })
}

/** Where a receiver finds one all the same, nobody knows whose it is. */
function namesNone(what: string): Refusal {
  return new Refusal('MESSAGE_MALFORMED', `${what} names no task where one is looked for`)
}

function readParams(ids: TaskIds, params: Fields, own: readonly string[]): void {
  ids.read(params, own)
  for (const [name, value] of Object.entries(params)) {
    const inner = foldedName(name)
    if (!isRecord(value)) continue
    if (inner === 'message') ids.read(value, [])
    if (inner === 'meta') ids.readMeta(value)
    if (wrappers.has(inner)) readParams(ids, value, own)
  }
}

/** Of a body that is no call: what it says of tasks is the application's own, or another's. */
export function tasksOfBody(body: unknown): TaskReferences | Refusal {
  if (body === undefined) return noTasks
  const ids = new TaskIds()
  ids.mentionAll(body, false)
  return ids.done({ lists: false, creates: false })
}

/** Without escapes, underscores and anything that folds into other letters. */
const plainPath = /^[\x20-\x24\x26-\x5e\x60-\x7e]*$/
const taskWords = /task|message|context/i

/**
 * Reads what a request of A2A over plain HTTP says of tasks: `/tasks`, `/tasks/{id}` with what may
 * follow, under whatever prefix, `/message:send` and `/message:stream`, and the methods of its service
 * as a path (`/A2AService/GetTask`). A path of that kind which receivers read in two ways is refused.
 */
export function tasksOfPath(path: string, body: unknown): TaskReferences | Refusal {
  if (plainPath.test(path) && !taskWords.test(path)) return noTasks
  const mark = path.indexOf('?')
  const segments = readPathSegments(mark < 0 ? path : path.slice(0, mark))
  const place = placeOf(segments)
  const ids = new TaskIds()
  const isAbout = place.isAboutTasks || place.sends
  if (isAbout && segments.some(({ isAmbiguous }) => isAmbiguous)) ids.malformed()
  for (const each of place.ids) addSegment(ids, each)
  readQuery(ids, mark < 0 ? '' : path.slice(mark + 1), place)
  if (!isAbout) return ids.done({ lists: false, creates: false })
  if (isRecord(body)) readParams(ids, body, place.isAboutTasks ? ['id', 'name'] : [])
  ids.mentionAll(body, place.isAboutTasks)
  const { lists, sends } = place
  if (!lists && !sends && ids.found.length === 0) return namesNone('the path')
  return ids.done({ lists, creates: sends })
}

interface Place {
  readonly isAboutTasks: boolean
  readonly sends: boolean
  readonly lists: boolean
  /** The segments that stand where an id does. */
  readonly ids: readonly PathSegment[]
}

function placeOf(segments: readonly PathSegment[]): Place {
  const last = foldedName(segments.at(-1)?.word ?? '')
  // Whichever of several a receiver goes by, what follows each is an id.
  const ids = segments.filter((_, i) => foldedName(segments[i - 1]?.word ?? '') === 'tasks')
  const isResource = segments.some(({ word }) => foldedName(word) === 'tasks')
  const method = last.split('/').at(-1) ?? ''
  const isSend = segments.some(({ word }) => /^message:(?:send|stream)$/.test(foldedName(word)))
  return {
    isAboutTasks: isResource || taskMethod.test(method),
    sends: isSend || sendMethods.has(method),
    lists: method.startsWith('list') || (isResource && ids.length === 0),
    ids,
  }
}

/** `123:cancel` is a verb on task `123`; some receiver may take the whole for an id. */
function addSegment(ids: TaskIds, { text }: PathSegment): void {
  const verb = /:(?:cancel|subscribe)$/i.exec(text)
  ids.add('task', verb === null ? text : text.slice(0, verb.index))
  if (verb !== null) ids.mention(text)
}

function readQuery(ids: TaskIds, query: string, { isAboutTasks: isTask, sends }: Place): void {
  if (query === '') return
  const isAbout = isTask || sends
  for (const [name, value] of new URLSearchParams(query)) {
    // A name that some receiver decodes once more, or parameters after another question mark.
    if (isAbout && /[%?]/.test(name + value)) ids.malformed()
    if (isAbout) ids.read({ [name]: value }, isTask ? ['id', 'name'] : [])
    else ids.mentionAll({ [name]: value }, false)
  }
}

/** Whether a path is one of A2A's over plain HTTP that name a task or send a message. */
export function isAboutTasks(path: string): boolean {
  const tasks = tasksOfPath(path, undefined)
  return tasks instanceof Refusal || tasks.lists || tasks.creates || tasks.ids.length > 0
}

export function joinTasks(a: TaskReferences, b: TaskReferences): TaskReferences {
  if (b === noTasks) return a
  if (a === noTasks) return b
  const lists = a.lists || b.lists
  const creates = a.creates || b.creates
  return { ids: [...a.ids, ...b.ids], mentions: [...a.mentions, ...b.mentions], lists, creates }
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
  const ids = new TaskIds()
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
  const ids = new TaskIds()
  ids.read(task, ['id', 'name'])
  const tasks = ids.found.filter((id) => id.startsWith('task '))
  return tasks.length > 0 && tasks.every(isOwn)
}

function resultOf(value: unknown): Fields | null {
  if (!isRecord(value)) return null
  return isRecord(value['result']) ? value['result'] : value
}
