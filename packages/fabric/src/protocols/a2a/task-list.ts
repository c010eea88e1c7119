import { withExactNumbers } from '../reading/exact-numbers.ts'
import { foldedName } from '../reading/folded-name.ts'
import { keyOf } from './task-ids.ts'

/**
 * Reports whether an item that names the task `id`, a key of `TaskReferences`, stays. A `lax` id
 * may be the application's own as well: the item is removed only if the id is known to be
 * another's.
 */
export type IsOwn = (id: string, isLax: boolean) => boolean

/** A list of tasks without those of others. */
export interface FilteredTasks {
  /** The very same where nothing was cut. */
  readonly text: string
  /** Number of lists of tasks in the text. */
  readonly lists: number
  /** Tasks, or a task of another, stand where they cannot be cut. */
  readonly isUnread: boolean
}

/**
 * Cuts the tasks of others from the JSON in `text`. Lists called `tasks` keep the caller's own
 * tasks, at any depth, in a kept task as well. Around these lists, a record that names a task other
 * than the caller's own is removed. Inside a kept task, whose data are the application's, a record
 * is removed if it names a task known to be another's. The rest stays as the receiver wrote it, so
 * that every reader gets the same numbers and text as before. The text has been parsed: it is
 * strict JSON. Linear.
 */
export function filterTasks(text: string, isOwn: IsOwn): FilteredTasks {
  return new TaskFilter(text, isOwn).run()
}

const openBrace = 0x7b
const closeBrace = 0x7d
const openBracket = 0x5b
const closeBracket = 0x5d
const quote = 0x22
const backslash = 0x5c
const comma = 0x2c

/** Members of a record that name the task that it is, or is about. */
const idNames: ReadonlySet<string> = new Set([
  'id',
  'name',
  'taskid',
  'taskids',
  'referencetaskids',
])
/** A name of a member as long as this may be an id. */
const idLengthMin = 16

/** Position of a value: an item of a list of tasks, within such an item, or around these lists. */
type Place = 'listed' | 'within' | 'around' | 'root'

interface Cut {
  readonly from: number
  readonly to: number
  readonly put: string
}

class TaskFilter {
  readonly #text: string
  readonly #isOwn: IsOwn
  /** In order, and none inside of another. */
  readonly #cuts: Cut[] = []
  #at = 0
  #lists = 0
  #isUnread = false

  constructor(text: string, isOwn: IsOwn) {
    this.#text = text
    this.#isOwn = isOwn
  }

  run(): FilteredTasks {
    this.#skipBlanks()
    if (!this.#visit('root', null)) this.#isUnread = true
    return { text: this.#kept(), lists: this.#lists, isUnread: this.#isUnread }
  }

  #kept(): string {
    const parts: string[] = []
    let done = 0
    for (const { from, to, put } of this.#cuts) {
      parts.push(this.#text.slice(done, from), put)
      done = to
    }
    return parts.length === 0 ? this.#text : `${parts.join('')}${this.#text.slice(done)}`
  }

  /**
   * Goes behind a value and returns whether it stays; ids that it is or holds, without records, are
   * put into `ids`.
   */
  #visit(place: Place, ids: string[] | null): boolean {
    const unit = this.#unit()
    if (unit === openBrace) return this.#visitRecord(place)
    const within = place === 'root' ? 'around' : place
    if (unit === openBracket) {
      this.#filterItems(closeBracket, () => this.#visit(within, ids))
      return true
    }
    const from = this.#at
    this.#skip()
    if (ids !== null) this.#readId(this.#text.slice(from, this.#at), ids)
    return place !== 'listed'
  }

  #visitRecord(place: Place): boolean {
    const ids: string[] = []
    this.#filterItems(closeBrace, () => this.#visitMember(place, ids))
    const isLax = place === 'within'
    // An unnamed task has no owner.
    if (place === 'listed' && ids.length === 0) return false
    return ids.every((id) => this.#isOwn(keyOf('task', id), isLax))
  }

  /** Visits a member and returns whether it stays. */
  #visitMember(place: Place, ids: string[]): boolean {
    const from = this.#at
    this.#skipString()
    const written = String(JSON.parse(this.#text.slice(from, this.#at)))
    const name = foldedName(written)
    this.#skipBlanks()
    this.#at++
    this.#skipBlanks()
    const inner = place === 'listed' || place === 'within' ? 'within' : 'around'
    if (name === 'tasks') {
      this.#visitTasks()
      return true
    }
    const own: string[] | null = idNames.has(name) ? [] : null
    if (place === 'root' && name === 'id') return this.#visitRootId()
    const stays = this.#visit(inner, own)
    const isName = name === 'name' && place !== 'listed'
    // An application has names of its own; a task's is that of a resource.
    if (own !== null) ids.push(...(isName ? own.filter((id) => id.startsWith(resource)) : own))
    // The number of all tasks would disclose how many tasks others have.
    if (name === 'totalsize') return false
    const isNamed = written.length < idLengthMin || this.#isOwn(keyOf('task', written), true)
    return stays && isNamed
  }

  /** That of the call, as a rule; where it is known to be another's task, this is that task. */
  #visitRootId(): true {
    const ids: string[] = []
    this.#visit('around', ids)
    const isOwn = (id: string) => id.length < idLengthMin || this.#isOwn(keyOf('task', id), true)
    if (!ids.every(isOwn)) this.#isUnread = true
    return true
  }

  #visitTasks(): void {
    this.#lists++
    const from = this.#at
    if (this.#unit() === openBracket) {
      this.#filterItems(closeBracket, () => this.#visit('listed', null))
      return
    }
    this.#skip()
    // Protobuf's JSON takes null for what is empty.
    if (this.#text.slice(from, this.#at) !== 'null') this.#isUnread = true
    this.#cut({ from, to: this.#at, put: '[]' })
  }

  /** `json` is a string, a number, or another word of JSON. */
  #readId(json: string, ids: string[]): void {
    const value = withExactNumbers(JSON.parse(json), json)
    const isId = typeof value === 'number' || (typeof value === 'string' && value !== '')
    if (isId) ids.push(String(value))
  }

  /** Keeps the items for which `visit`, which goes behind each, is true. */
  #filterItems(end: number, visit: () => boolean): void {
    this.#at++
    let hasKept = false
    /** Start of the text of the next item, with the comma before it if another one stays. */
    let from = this.#at
    this.#skipBlanks()
    while (this.#unit() !== end) {
      const stays = visit()
      this.#skipBlanks()
      const isLast = this.#unit() === end
      if (!stays) this.#cut({ from, to: hasKept || isLast ? this.#at : this.#at + 1, put: '' })
      hasKept ||= stays
      from = hasKept ? this.#at : this.#at + 1
      if (this.#unit() === comma) this.#at++
      this.#skipBlanks()
    }
    this.#at++
  }

  /** Removes a range, together with the cuts inside it. */
  #cut(cut: Cut): void {
    while ((this.#cuts.at(-1)?.from ?? -1) >= cut.from) this.#cuts.pop()
    this.#cuts.push(cut)
  }

  #unit(): number {
    return this.#text.charCodeAt(this.#at)
  }

  #skipBlanks(): void {
    while (isBlank(this.#unit())) this.#at++
  }

  /** Goes behind the value that begins here. */
  #skip(): void {
    let depth = 0
    do {
      const unit = this.#unit()
      if (unit === quote) this.#skipString()
      else if (unit === openBrace || unit === openBracket) depth++
      else if (unit === closeBrace || unit === closeBracket) depth--
      else if (depth === 0) return this.#skipScalar()
      if (unit !== quote) this.#at++
    } while (depth > 0)
  }

  #skipScalar(): void {
    while (this.#at < this.#text.length && !endsScalar(this.#unit())) this.#at++
  }

  #skipString(): void {
    for (this.#at++; this.#unit() !== quote; this.#at++) if (this.#unit() === backslash) this.#at++
    this.#at++
  }
}

const resource = 'tasks/'

function isBlank(unit: number): boolean {
  return unit === 0x20 || unit === 0x09 || unit === 0x0a || unit === 0x0d
}

function endsScalar(unit: number): boolean {
  return unit === comma || unit === closeBrace || unit === closeBracket || isBlank(unit)
}
