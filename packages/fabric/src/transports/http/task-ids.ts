import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'
import { foldedName } from './folded-name.ts'
import { isRecord } from './rpc-message.ts'

/** What a request says of tasks and conversations that exist already. */
export interface TaskReferences {
  /**
   * Each is `task <id>` or `context <id>`, so that one kind is never taken for the other. What is not
   * known to be the caller's own is refused.
   */
  readonly ids: readonly string[]
  /**
   * Further places where a reader may find such an id, which belong to the application as often: what
   * is known to be another's is refused there, and what is not known passes.
   */
  readonly mentions: readonly string[]
  /** Whether the response lists tasks, of which each caller may see its own. */
  readonly lists: boolean
  /** Whether the response may speak of a task that it created for this caller. */
  readonly creates: boolean
}

export const noTasks: TaskReferences = { ids: [], mentions: [], lists: false, creates: false }

/** A request that names more than this is not one that a client makes. */
const idsLimit = { name: 'tasks.ids', value: 64, unit: 'count' } as const
const mentionsLimit = { name: 'tasks.mentions', value: 1_024, unit: 'count' } as const

export type Fields = Readonly<Record<string, unknown>>

const relatedTask = 'io.modelcontextprotocol/related-task'
const readTwoWays = 'ids of tasks that readers could take in two ways'

/** Collects the ids of tasks and conversations that a message holds. */
export class TaskIds {
  readonly found: string[] = []
  readonly #mentions = new Set<string>()
  #isMalformed = false

  add(kind: 'task' | 'context', value: unknown): void {
    // Protobuf's JSON leaves out what is empty, and takes null for it.
    if (value === undefined || value === null || value === '') return
    if (typeof value !== 'string' && typeof value !== 'number') this.#isMalformed = true
    else this.found.push(keyOf(kind, value))
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

  readMeta(meta: Fields): void {
    for (const [name, value] of Object.entries(meta)) {
      if (name.toLowerCase() === relatedTask && isRecord(value)) this.read(value, [])
    }
  }

  /** A task calls its own id `id`, and is known by its state. */
  readCreated(record: Fields): void {
    const names = Object.keys(record).map(foldedName)
    const isTask = record['kind'] === 'task' || names.includes('status')
    this.read(record, isTask ? ['id'] : [])
  }

  mention(value: unknown): void {
    if (typeof value !== 'string' && typeof value !== 'number') return
    for (const kind of ['task', 'context'] as const) this.#mentions.add(keyOf(kind, value))
  }

  /**
   * Whatever stands under a name that speaks of tasks or conversations, at any depth; with `isTask`
   * under `id` and `name` as well. Depth is bounded by the reader of JSON.
   */
  mentionAll(value: unknown, isTask: boolean): void {
    if (typeof value !== 'object' || value === null) return
    for (const [name, member] of Object.entries(value)) {
      const isNamed = Array.isArray(value) ? isTask : isTask && isIdName(foldedName(name))
      const isAbout = !Array.isArray(value) && speaksOfTasks(name)
      if (isNamed || isAbout) this.mention(member)
      this.mentionAll(member, isTask || isAbout)
    }
  }

  malformed(): void {
    this.#isMalformed = true
  }

  done(what: Pick<TaskReferences, 'lists' | 'creates'>): TaskReferences | Refusal {
    if (this.#isMalformed) return new Refusal('MESSAGE_MALFORMED', readTwoWays)
    if (this.found.length > idsLimit.value) return overLimit('MESSAGE_MALFORMED', idsLimit)
    if (this.#mentions.size > 2 * mentionsLimit.value) {
      return overLimit('MESSAGE_MALFORMED', mentionsLimit)
    }
    return { ids: this.found, mentions: [...this.#mentions], ...what }
  }
}

function keyOf(kind: 'task' | 'context', value: string | number): string {
  return `${kind} ${value}`.replace(/^task tasks\//, 'task ')
}

const isIdName = (folded: string): boolean => folded === 'id' || folded === 'name'

function speaksOfTasks(name: string): boolean {
  const folded = foldedName(name)
  return folded.includes('task') || folded.includes('context')
}
