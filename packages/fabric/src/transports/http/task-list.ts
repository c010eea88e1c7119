import { withExactNumbers } from './exact-numbers.ts'
import { foldedName } from './folded-name.ts'
import { isRecord } from './rpc-message.ts'
import { idsOfAnswer } from './task-ids.ts'

/**
 * The JSON in `text` with only those of its listed tasks that `isOwn`, if it lists any in this form. What
 * stays is what the receiver wrote, so that no reader gets another number or text than it would have.
 * The text has been parsed: it is strict JSON.
 */
export function filterTasks(
  text: string,
  isOwn: (id: string) => boolean,
): { readonly text: string } | 'none' | 'unread' {
  const filter = new TaskFilter(text, isOwn)
  return filter.run()
}

const openBrace = 0x7b
const closeBrace = 0x7d
const openBracket = 0x5b
const closeBracket = 0x5d
const quote = 0x22
const backslash = 0x5c
const comma = 0x2c

/** Walks a text once, and copies what stays of it. */
class TaskFilter {
  readonly #text: string
  readonly #isOwn: (id: string) => boolean
  readonly #kept: string[] = []
  /** Up to where the text is copied or cut. */
  #done = 0
  #at = 0
  #lists = 0
  /** Whether tasks are given in another form than a list. */
  #isUnread = false

  constructor(text: string, isOwn: (id: string) => boolean) {
    this.#text = text
    this.#isOwn = isOwn
  }

  run(): ReturnType<typeof filterTasks> {
    this.#skipBlanks()
    if (this.#unit() !== openBrace) return 'none'
    this.#visit()
    if (this.#isUnread) return 'unread'
    if (this.#lists === 0) return 'none'
    this.#cut(this.#text.length, this.#text.length)
    return { text: this.#kept.join('') }
  }

  /** Lists anywhere, next to `result` for instance: a client may look there. */
  #visit(): void {
    const unit = this.#unit()
    if (unit === openBrace) return this.#filterItems(closeBrace, () => this.#visitMember())
    if (unit !== openBracket) return this.#skip()
    this.#filterItems(closeBracket, () => {
      this.#visit()
      return true
    })
  }

  /** Whether the member stays. */
  #visitMember(): boolean {
    const from = this.#at
    this.#skipString()
    const name = foldedName(String(JSON.parse(this.#text.slice(from, this.#at))))
    this.#skipBlanks()
    this.#at++
    this.#skipBlanks()
    if (name === 'tasks') this.#visitTasks()
    // How many tasks others have is theirs as well.
    else if (name === 'totalsize') this.#skip()
    else this.#visit()
    return name !== 'totalsize'
  }

  #visitTasks(): void {
    this.#lists++
    const from = this.#at
    if (this.#unit() === openBracket) {
      this.#filterItems(closeBracket, () => this.#ownsTask())
      return
    }
    this.#skip()
    // Protobuf's JSON takes null for what is empty.
    if (this.#text.slice(from, this.#at) !== 'null') this.#isUnread = true
    this.#cut(from, this.#at)
    this.#kept.push('[]')
  }

  #ownsTask(): boolean {
    const from = this.#at
    this.#skip()
    const text = this.#text.slice(from, this.#at)
    const task = withExactNumbers(JSON.parse(text), text)
    if (!isRecord(task)) return false
    const ids = idsOfAnswer(task, ['id', 'name']).filter((id) => id.startsWith('task '))
    return ids.length > 0 && ids.every(this.#isOwn)
  }

  /** Keeps the items for which `visit`, which goes behind each, is true. */
  #filterItems(end: number, visit: () => boolean): void {
    this.#at++
    let hasKept = false
    /** Where the text of the next item begins, with the comma before it if another one stays. */
    let from = this.#at
    this.#skipBlanks()
    while (this.#unit() !== end) {
      const stays = visit()
      this.#skipBlanks()
      const isLast = this.#unit() === end
      if (!stays) this.#cut(from, hasKept || isLast ? this.#at : this.#at + 1)
      hasKept ||= stays
      from = hasKept ? this.#at : this.#at + 1
      if (this.#unit() === comma) this.#at++
      this.#skipBlanks()
    }
    this.#at++
  }

  #cut(from: number, to: number): void {
    this.#kept.push(this.#text.slice(this.#done, from))
    this.#done = to
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

function isBlank(unit: number): boolean {
  return unit === 0x20 || unit === 0x09 || unit === 0x0a || unit === 0x0d
}

function endsScalar(unit: number): boolean {
  return unit === comma || unit === closeBrace || unit === closeBracket || isBlank(unit)
}
