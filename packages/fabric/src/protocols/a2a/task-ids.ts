import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'
import { foldedName } from '../reading/folded-name.ts'
import { foldedId, idLengthMax } from '../reading/known-ids.ts'
import { freeWork, STEPS, type Work } from '../reading/reading-steps.ts'
import {
  type FieldName,
  isIdentifier,
  topics,
  visitIdentifiers,
} from '../reading/request-fields.ts'
import { idKey } from './owned-ids.ts'

/**
 * References of a request to existing tasks, conversations, streams and sessions. All are
 * normalized by `idKey` when they are read, so that a reader that looks up many of them does not
 * repeat that work.
 */
export interface TaskReferences {
  /**
   * Each is `task <id>`, `context <id>` or `event <id>`, so that one kind is never taken for
   * another. An id that is not known to be the caller's own is refused.
   */
  readonly ids: readonly string[]
  /**
   * Further places where a reader may find such an id, or `session <id>`, which belong to the
   * application as often: an id that is known to be another's is refused there, and others pass.
   */
  readonly mentions: readonly string[]
  /**
   * Possible ids of another caller anywhere in the request, without a name or with one that does
   * not identify them. Such an id is refused if it is known to be another's task or session.
   */
  readonly known: readonly string[]
  /** True if the response lists tasks, of which each caller may see its own. */
  readonly lists: boolean
  /**
   * True if the response is a list of tasks when it is JSON, and a file of a page otherwise:
   * `/static/tasks.js`.
   */
  readonly isFile: boolean
  /** True if the response may mention a task that it created for this caller. */
  readonly creates: boolean
}

export const noTasks: TaskReferences = {
  ...{ ids: [], mentions: [], known: [] },
  ...{ lists: false, isFile: false, creates: false },
}

/** A request that names more than this is not one that a client makes. */
const idsLimit = { name: 'tasks.ids', value: 64, unit: 'count' } as const
const mentionsLimit = { name: 'tasks.mentions', value: 1_024, unit: 'count' } as const

export type Fields = Readonly<Record<string, unknown>>

const readTwoWays = 'ids of tasks that readers could take in two ways'
const everyTopic = topics.task | topics.event | topics.session

const taskNames: ReadonlySet<string> = new Set(['taskid', 'taskids', 'referencetaskids'])

export type Kind = 'task' | 'context' | 'event'

/** The kind of id that a member of this name holds wherever the protocols define it. */
export function kindOf({ word, whole, outer }: FieldName): 'task' | 'context' | null {
  if (taskNames.has(word) || taskNames.has(whole)) return 'task'
  if (word === 'contextid' || whole === 'contextid') return 'context'
  if (word !== 'id' && word !== 'ids') return null
  if (outer?.word === 'task' || outer?.word === 'referencetask') return 'task'
  return outer?.word === 'context' ? 'context' : null
}

/** Collects the ids of tasks and conversations that a message holds. */
export class TaskIds {
  readonly work: Work
  readonly #found = new Set<string>()
  /** The possible kinds of each id, by the id: it counts once, however many kinds are possible. */
  readonly #mentions = new Map<string, number>()
  #isMalformed = false

  constructor(work: Work = freeWork) {
    this.work = work
  }

  get found(): readonly string[] {
    return [...this.#found]
  }

  get namesTask(): boolean {
    return this.found.some((id) => !id.startsWith('event '))
  }

  add(kind: Kind, value: unknown): void {
    // Protobuf's JSON leaves out what is empty, and takes null for it.
    if (value === undefined || value === null || value === '') return
    if (typeof value !== 'string' && typeof value !== 'number') this.#isMalformed = true
    else if (this.#found.size <= idsLimit.value) this.#found.add(keyOf(kind, value))
  }

  /** Mentions a value if its names, or the request (`isTask`), are about such ids. */
  mentionField(value: unknown, name: FieldName, isTask: boolean): void {
    const about = name.topics | (isTask ? topics.task : 0)
    if (about === 0) return
    const isNamed = name.isListed || name.word === 'id' || name.word === 'name'
    if (isNamed || name.isSpeaking || isIdentifier(value)) this.mention(value, about)
  }

  /** Mentions a value that stands behind a name in text. */
  readonly mentionText = (value: unknown, { topics: about }: FieldName): void => {
    this.mention(value, about)
  }

  mention(value: unknown, about: number): void {
    if (typeof value !== 'string' && typeof value !== 'number') return
    // Refused already: nothing else is collected.
    if (this.#mentions.size > mentionsLimit.value) return
    const given = String(value).trim()
    // A longer id is never remembered, so it cannot have an owner.
    if (given === '' || given.length > 2 * idLengthMax) return
    // A list in one value, and the name of a resource.
    const parts = /[,;|\s/]/.test(given) ? given.split(/[,;|\s/]+/) : []
    for (const id of [given, ...parts]) {
      this.#mentions.set(id, (this.#mentions.get(id) ?? 0) | about)
    }
  }

  /**
   * Mentions each word of `text` that is as long as an id, whatever its name: bounded text only.
   */
  mentionIdentifiers(text: string): void {
    visitIdentifiers(text, (value) => {
      this.mention(value, everyTopic)
    })
  }

  malformed(): void {
    this.#isMalformed = true
  }

  done(what: {
    readonly lists: boolean
    readonly creates: boolean
    readonly isFile?: boolean
  }): TaskReferences | Refusal {
    if (this.#isMalformed) return new Refusal('MESSAGE_MALFORMED', readTwoWays)
    if (this.#found.size > idsLimit.value) return overLimit('MESSAGE_MALFORMED', idsLimit)
    if (this.#mentions.size > mentionsLimit.value) {
      return overLimit('MESSAGE_MALFORMED', mentionsLimit)
    }
    const mentions = [...this.#mentions].flatMap(([id, about]) => this.#keysOf(id, about))
    const ids = this.found.map((id) => this.#folded(id, idKey))
    return { ids, mentions, known: [], isFile: false, ...what }
  }

  /** No longer than a value that is mentioned: ids of sessions may be as long. */
  #keysOf(id: string, about: number): readonly string[] {
    const key = this.#folded(id, foldedId)
    const keys: string[] = []
    if ((about & topics.task) !== 0) keys.push(`task ${key}`, `context ${key}`)
    if ((about & topics.event) !== 0) keys.push(`event ${key}`)
    if ((about & topics.session) !== 0) keys.push(`session ${key}`)
    return keys
  }

  #folded(id: string, fold: (id: string) => string): string {
    this.work.spend(Math.min(id.length, 2 * idLengthMax) * STEPS.foldedCharacter)
    return fold(id)
  }
}

/** Of an answer: a task calls its own id `id`, and is known by its state. */
export function idsOfAnswer(record: Fields, own: readonly string[]): readonly string[] {
  const ids = new TaskIds()
  for (const [name, value] of Object.entries(record)) {
    const folded = foldedName(name)
    if (folded === 'taskid' || own.includes(folded)) ids.add('task', value)
    if (folded === 'contextid') ids.add('context', value)
    if (folded !== 'referencetaskids' && folded !== 'taskids') continue
    for (const one of Array.isArray(value) ? (value as unknown[]) : [value]) ids.add('task', one)
  }
  return ids.found
}

export function createdBy(record: Fields): readonly string[] {
  const names = Object.keys(record).map(foldedName)
  const isTask = record['kind'] === 'task' || names.includes('status')
  return idsOfAnswer(record, isTask ? ['id'] : [])
}

/** One key for an id as it is written, by whatever name a resource has for it. */
export function keyOf(kind: Kind, value: string | number): string {
  return `${kind} ${value}`.replace(/^task tasks\//, 'task ')
}
