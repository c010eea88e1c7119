import { isFileOfPage, type PathSegment, readPathSegments } from '@countersign/protocol'
import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'
import { foldedName } from '../reading/folded-name.ts'
import type { Head } from '../reading/head.ts'
import { freeWork, STEPS, type Work } from '../reading/reading-steps.ts'
import {
  type FieldName,
  isIdentifier,
  topics,
  visitForm,
  visitHead,
  visitJson,
  visitPath,
  visitQueryText,
  visitText,
} from '../reading/request-fields.ts'
import { isRecord } from '../reading/rpc-message.ts'
import { unescapeAll } from '../reading/unescape-all.ts'
import { idKey } from './owned-ids.ts'
import {
  createdBy,
  type Fields,
  type Kind,
  kindOf,
  noTasks,
  TaskIds,
  type TaskReferences,
} from './task-ids.ts'

/** Methods of A2A and MCP, folded, whose parameters call the task's id `id` or `name`. */
const taskMethod = /^(?:get|list|cancel|subscribeto|resubscribeto)tasks?$/
const sendMethods: ReadonlySet<string> = new Set(['sendmessage', 'sendstreamingmessage'])

/** `pkg.Service/GetTask` and `tasks.get` are what some servers call `GetTask` and `tasks/get`. */
function isTaskMethod(folded: string): boolean {
  const words = folded.split(/[/.:]/)
  return words.slice(0, -1).includes('tasks') || taskMethod.test(words.at(-1) ?? '')
}

/** Records that some bindings put around the parameters once more. */
const wrappers: ReadonlySet<string> = new Set(['request', 'params'])
/** Records around an id that the protocols define; the last four are `related-task` of MCP. */
const holders: ReadonlySet<string> = new Set([
  ...[...wrappers, 'message', 'meta'],
  ...['io', 'modelcontextprotocol', 'related', 'task'],
])

/** Options for reading the fields of one request. */
interface Reading {
  /** True if the request is about a task, whose id may be called `id` or `name`. */
  readonly isTask: boolean
  /** True if ids are in the places where the protocols define them, and must be known. */
  readonly isStrict: boolean
  /** True if a member `id` of the document itself is the id of the call. */
  readonly isCall: boolean
}

const ofApplication: Reading = { isTask: false, isStrict: false, isCall: false }

/**
 * Reads the references of a JSON-RPC call, in A2A 1.0 and 0.3 and in MCP alike: some methods have
 * one name in both, and the receiver goes by its own reading. Members next to `params` count as
 * well. A call about a task that names none where it is looked for is refused.
 */
export function tasksOfCall(
  method: string,
  message: Fields,
  work: Work = freeWork,
): TaskReferences | Refusal {
  const folded = foldedName(method)
  const ids = new TaskIds(work)
  // The sender's own task, which the receiver asked it for: not known here, unless it is another's.
  const isStatus = folded === 'notifications/tasks/status'
  const isTask = !isStatus && isTaskMethod(folded)
  readJson(ids, message, { isTask, isStrict: !isStatus, isCall: true })
  const lists = isTask && folded.includes('list')
  if (isTask && !lists && !ids.namesTask) return namesNone(method)
  return ids.done({ lists, creates: !lists && !isTask })
}

/** If a receiver still found a task there, its owner would be unknown. */
function namesNone(what: string): Refusal {
  return new Refusal('MESSAGE_MALFORMED', `${what} names no task where one is looked for`)
}

function readJson(ids: TaskIds, body: unknown, reading: Reading): void {
  const { isTask, isStrict, isCall } = reading
  const strict = new StrictNames(reading)
  visitJson(body, (value, name) => {
    ids.work.spend(STEPS.field)
    if (name.topics === 0 && !isTask) return
    if (isStrict) readStrictly(ids, value, name, strict)
    // The id of a call is often a small number, as that of a task may be.
    const isOfCall = isCall && name.outer === null && name.word === 'id'
    if (!isOfCall || isIdentifier(value)) ids.mentionField(value, name, isTask)
  })
}

function readStrictly(ids: TaskIds, value: unknown, name: FieldName, strict: StrictNames): void {
  const { kind, isOpaque, isInside } = strict.of(name)
  // Some reader follows the path that it may be.
  if (isOpaque || isInside) ids.malformed()
  else if (kind !== null) ids.add(kind, value)
}

interface StrictName {
  /** Of the id that stands under this name where the protocols define it. */
  readonly kind: Kind | null
  /** True if the name is in a record where an id belongs. */
  readonly isInside: boolean
  readonly isOpaque: boolean
  /** True if all names down to this one are records that the protocols know, or that wrap. */
  readonly isHeld: boolean
  readonly isWrapped: boolean
}

const outermost: StrictName = {
  ...{ kind: null, isInside: false, isOpaque: false },
  ...{ isHeld: true, isWrapped: true },
}

/** Finds each name once, from those around it: many values share a long path of names. */
class StrictNames {
  readonly #reading: Reading
  readonly #found = new WeakMap<FieldName, StrictName>()

  constructor(reading: Reading) {
    this.#reading = reading
  }

  of(name: FieldName): StrictName {
    const open: FieldName[] = []
    let around: StrictName | undefined
    for (let at: FieldName | null = name; around === undefined && at !== null; at = at.outer) {
      around = this.#found.get(at)
      if (around === undefined) open.push(at)
    }
    let found = around ?? outermost
    for (const at of open.toReversed()) {
      found = this.#below(found, at)
      this.#found.set(at, found)
    }
    return found
  }

  #below(around: StrictName, name: FieldName): StrictName {
    const { word, outer } = name
    const kind = kindOf(name) ?? (this.#isOwn(name, around) ? 'task' : null)
    const own = around.isHeld ? kind : null
    const isInRecordOfId =
      around.isInside || (around.kind !== null && outer !== null && !holders.has(outer.word))
    return {
      kind: own,
      isInside: own === null && isInRecordOfId,
      isOpaque: around.isOpaque || name.isOpaque,
      isHeld: around.isHeld && holders.has(word),
      isWrapped: around.isWrapped && wrappers.has(word),
    }
  }

  #isOwn({ word, outer }: FieldName, around: StrictName): boolean {
    const { isTask, isCall } = this.#reading
    if (!isTask || (word !== 'id' && word !== 'name') || (isCall && outer === null)) return false
    return around.isWrapped
  }
}

/** The references of a body without a call: they are the application's own, or another's. */
export function tasksOfBody(body: unknown, work: Work = freeWork): TaskReferences | Refusal {
  if (body === undefined) return noTasks
  const ids = new TaskIds(work)
  if (typeof body === 'string') {
    readForm(ids, body, { ...ofApplication, isQuery: false })
    work.spend(body.length * STEPS.layerByte)
    visitText(unescapeAll(body), ids.mentionText)
  } else {
    readJson(ids, body, ofApplication)
  }
  return ids.done({ lists: false, creates: false })
}

/** Without escapes, underscores and anything that folds into other letters. */
const plainPath = /^[\x20-\x24\x26-\x5e\x60-\x7e]*$/
const taskWords = /task|message|context|session|event|[\w-]{16}/i

/**
 * Reads the references of a request in its path and query: `/tasks`, `/tasks/{id}` with what may
 * follow, under any prefix, `/message:send` and `/message:stream`, and the methods of its service
 * as a path (`/A2AService/GetTask`). A path of that kind which receivers read in two ways is
 * refused.
 */
export function tasksOfPath(method: string, path: string, body: unknown): TaskReferences | Refusal {
  if (plainPath.test(path) && !taskWords.test(path)) return noTasks
  const mark = path.indexOf('?')
  const inPath = mark < 0 ? path : path.slice(0, mark)
  const segments = readPathSegments(inPath)
  const place = placeOf(method, segments)
  const ids = new TaskIds()
  const { isAboutTasks: isTask, lists, sends } = place
  const isAbout = isTask || sends
  const reading = { isTask, isStrict: isAbout, isCall: false }
  if (isAbout && segments.some(({ isAmbiguous }) => isAmbiguous)) ids.malformed()
  if (place.isAmbiguous) ids.malformed()
  for (const each of place.ids) addSegment(ids, each)
  visitPath(inPath, (value, name) => {
    ids.mentionField(value, name, false)
  })
  if (mark >= 0) readForm(ids, path.slice(mark + 1), { ...reading, isQuery: true })
  if (mark >= 0) visitQueryText(path.slice(mark + 1), ids.mentionText)
  ids.mentionIdentifiers(path)
  if (!isAbout) return ids.done({ lists: false, creates: false, isFile: place.isFile })
  if (isRecord(body)) readJson(ids, body, reading)
  if (!lists && !sends && !place.adds && !ids.namesTask) return namesNone('the path')
  return ids.done({ lists, creates: sends })
}

interface Place {
  readonly isAboutTasks: boolean
  readonly sends: boolean
  readonly lists: boolean
  /** True if an application may take the request for a new task of its own: `POST /tasks`. */
  readonly adds: boolean
  /**
   * True if only some receivers read a segment as one of these words: `tasks.json`, `tasks('5')`.
   */
  readonly isAmbiguous: boolean
  readonly isFile: boolean
  /** The segments that stand where an id does. */
  readonly ids: readonly PathSegment[]
}

const reads: ReadonlySet<string> = new Set(['GET', 'HEAD'])
const looseWord = /^(?:tasks|message:(?:send|stream))(?![a-z0-9_-])./

function placeOf(httpMethod: string, segments: readonly PathSegment[]): Place {
  const last = foldedName(segments.at(-1)?.word ?? '')
  // A receiver may go by any of several, so each segment that follows one is an id.
  const ids = segments.filter((_, i) => foldedName(segments[i - 1]?.word ?? '') === 'tasks')
  const isResource = segments.some(({ word }) => foldedName(word) === 'tasks')
  const isCollection = isResource && ids.length === 0
  const method = last.split('/').at(-1) ?? ''
  const isSend = segments.some(({ word }) => /^message:(?:send|stream)$/.test(foldedName(word)))
  const before = method.split(/[^a-z]/, 1)[0] ?? ''
  const isFile = isFileOfPage(last) && segments.at(-1)?.isAmbiguous === false
  const inside = isFile ? segments.slice(0, -1) : segments
  const isLoose = inside.some(({ word }) => looseWord.test(foldedName(word)))
  const isLooseMethod = before !== method && (taskMethod.test(before) || sendMethods.has(before))
  return {
    isAboutTasks: isResource || taskMethod.test(method),
    sends: isSend || sendMethods.has(method),
    // Other methods answer with something else, which would be withheld after they were carried
    // out.
    lists: method.startsWith('list') || (isCollection && reads.has(httpMethod)),
    adds: isCollection && httpMethod === 'POST',
    isAmbiguous: isLoose || isLooseMethod,
    isFile,
    ids,
  }
}

/** `123:cancel` is a verb on task `123`; some receiver may take the whole for an id. */
function addSegment(ids: TaskIds, { text }: PathSegment): void {
  const verb = /:(?:cancel|subscribe)$/i.exec(text)
  ids.add('task', verb === null ? text : text.slice(0, verb.index))
  if (verb !== null) ids.mention(text, topics.task)
}

/** A query, or a form. */
function readForm(ids: TaskIds, text: string, reading: Reading & { isQuery: boolean }): void {
  const { isTask, isStrict, isQuery } = reading
  if (text === '') return
  // A name that some receiver decodes once more, or parameters after another question mark.
  if (isStrict && /%25|%3f|\?/i.test(text)) ids.malformed()
  visitForm(text, (value, name) => {
    ids.work.spend(STEPS.field)
    // A browser's own client cannot set the field, so servers take the id from the query.
    if (isQuery && name.whole.includes('lasteventid')) ids.add('event', value)
    if (isStrict && name.isOpaque) ids.malformed()
    const kind = isStrict ? (kindOf(name) ?? (isTask && isIdName(name.word) ? 'task' : null)) : null
    if (kind !== null) ids.add(kind, value)
    ids.mentionField(value, name, isTask)
  })
}

const isIdName = (word: string): boolean => word === 'id' || word === 'name'

/**
 * The references of a head: the event after which a stream is to go on, and mirrored parameters.
 */
export function tasksOfHead({ headers }: Pick<Head, 'headers'>): TaskReferences | Refusal {
  const event = headers.get('last-event-id')
  const ids = new TaskIds()
  visitHead(headers, (value, name) => {
    ids.mentionField(value, name, false)
  })
  const read = ids.done({ lists: false, creates: false })
  if (event === undefined || read instanceof Refusal) return read
  return { ...read, ids: [idKey(`event ${event}`)] }
}

/**
 * Reports whether a request is an A2A request over plain HTTP that names a task or sends a message.
 */
export function isAboutTasks(method: string, path: string): boolean {
  const tasks = tasksOfPath(method, path, undefined)
  return tasks instanceof Refusal || tasks.lists || tasks.creates || tasks.ids.length > 0
}

export function joinTasks(a: TaskReferences, b: TaskReferences): TaskReferences {
  if (b === noTasks) return a
  if (a === noTasks) return b
  const lists = a.lists || b.lists
  const creates = a.creates || b.creates
  const known = [...a.known, ...b.known]
  return {
    ids: [...a.ids, ...b.ids],
    mentions: [...a.mentions, ...b.mentions],
    known,
    lists,
    isFile: a.isFile || b.isFile,
    creates,
  }
}

/**
 * Members that hold a new task, or news of one, in the protocols. Any other member is the
 * application's own.
 */
const creatingNames: ReadonlySet<string> = new Set([
  'task',
  'message',
  'statusupdate',
  'artifactupdate',
])

/**
 * Maximum number of tasks that are remembered from one response, on the event loop. The protocols
 * create one.
 */
const createdLimit = { name: 'tasks.created', value: 64, unit: 'count' } as const

/**
 * Returns everything that a response reports as created: tasks with their conversations, as keys of
 * `keyOf`.
 */
export function createdIn(value: unknown): readonly string[] | Refusal {
  const root = resultOf(value)
  if (root === null) return []
  const found = new Set(createdBy(root))
  for (const [name, inner] of Object.entries(root)) {
    if (!creatingNames.has(foldedName(name)) || !isRecord(inner)) continue
    for (const id of createdBy(inner)) found.add(id)
    // There are as many spellings of these names as a receiver likes.
    if (found.size > createdLimit.value) break
  }
  if (found.size > createdLimit.value) return overLimit('RESPONSE_REJECTED', createdLimit)
  return [...found]
}

function resultOf(value: unknown): Fields | null {
  if (!isRecord(value)) return null
  return isRecord(value['result']) ? value['result'] : value
}
