import { foldedWord, readPathSegments, undoPercent } from '@countersign/protocol'
import { decodeMirrored } from '../../pipeline/inspect-fields.ts'
import { foldedName } from './folded-name.ts'

/** One name above a value, as the laxest reader takes it, and the names around it. */
export interface FieldName {
  readonly word: string
  /** All words of the name that this one was written in: `taskid` for `task.id`. */
  readonly whole: string
  /** True if the value is an element of a list, or of a list in a list. */
  readonly isListed: boolean
  /** Bits of `topics`: the subjects of this name and of every name around it. */
  readonly topics: number
  /**
   * True if `whole` itself has a subject. Needed for every value, so it is computed once for each
   * name.
   */
  readonly isSpeaking: boolean
  /** True if it was part of a name with more parts than a path of names may have. */
  readonly isOpaque: boolean
  readonly outer: FieldName | null
}

/** A longer path in one name is one opaque name: each value below would walk all of it. */
const partsMax = 64

export const topics = { task: 1, event: 2, session: 4 } as const
export const speaking = /task|context|session|lastevent/

export type VisitField = (value: unknown, name: FieldName) => void

/** Layers of percent-encoding after which no receiver looks for another field. */
const layersMax = 3

/**
 * Gives every value that some receiver could read from a document of JSON, at any depth, with its
 * names. This file is the only reader of fields: a guard that read them itself would miss spellings
 * which another guard knows. Depth is bounded by the parser of JSON.
 */
export function visitJson(value: unknown, visit: VisitField, name: FieldName | null = null): void {
  if (Array.isArray(value)) {
    const around = name === null ? null : listed(name)
    for (const each of value as unknown[]) visitJson(each, visit, around)
  } else if (typeof value === 'object' && value !== null) {
    const record = value as Readonly<Record<string, unknown>>
    for (const given in record) {
      // A record by ids, below such a name: `{"tasks": {"5": true}}`.
      if (name !== null && name.topics !== 0 && mayBeId(given)) visit(given, listed(name))
      visitJson(record[given], visit, nameOf(given, name))
    }
  } else if (name !== null) {
    visit(value, name)
  }
}

/** Gives every value that some receiver could read from a query or an encoded form. */
export function visitForm(text: string, visit: VisitField): void {
  for (const [given, value] of formPairs(text)) {
    const name = nameOf(given, null)
    visit(value, name)
    visitKeys(given, name, visit)
  }
}

/** The ids in a name itself: `taskId[5]`, `Task(5)`. */
function visitKeys(given: string, name: FieldName, visit: VisitField): void {
  if (name.topics === 0 || /^\w*$/.test(given)) return
  for (const key of given.split(/[^\w~:-]+/)) if (mayBeId(key)) visit(key, listed(name))
}

const listed = (name: FieldName): FieldName => ({ ...name, isListed: true })

/** Other words are names of members. */
const mayBeId = (key: string): boolean => isIdentifier(key) || /[0-9]/.test(key)

const subject = /task|context|session|last[_-]?event/gi
/**
 * From the end of such a word to the value behind it, in whatever notation, inside a string as
 * well.
 */
const assigned = /[\w.-]{0,64}["'\]\s\\]{0,16}[:=>][=>\s"'[({\\]{0,32}([\w.~-]+)/y

/**
 * Gives the values that stand behind such a name in text of any notation: JSON under another type,
 * YAML, XML. Receivers parse a body by what it looks like. Linear, since each step is bounded.
 */
export function visitText(text: string, visit: VisitField): void {
  for (const { 0: word, index } of text.matchAll(subject)) {
    const name = nameOf(word, null)
    assigned.lastIndex = index + word.length
    // The second is the value of a member of a record.
    for (let i = 0; i < 2; i++) {
      const value = assigned.exec(text)?.[1]
      if (value === undefined) break
      visit(value, name)
    }
  }
}

/**
 * Gives the parameters of a path: what follows `;`, and each segment under the name of the segment
 * before it, as routers read `/task/5`.
 */
export function visitPath(path: string, visit: VisitField): void {
  const segments = readPathSegments(path)
  for (const [i, { text }] of segments.entries()) {
    const before = segments[i - 1]
    if (before !== undefined) visit(text, nameOf(before.word, null))
    visitKeys(text, nameOf(text, null), visit)
  }
  if (/[;=]|%3[bd]/i.test(path)) visitForm(path.replaceAll('/', '&'), visit)
}

/** As `visitText`, in every layer of a query: its values are documents at times. */
export function visitQueryText(query: string, visit: VisitField): void {
  for (const layer of layersOf(query)) visitText(layer.replaceAll('+', ' '), visit)
}

/** Gives the words of `text` that are as long as an identifier which cannot be guessed. */
export function visitIdentifiers(text: string, visit: (value: string) => void): void {
  for (const layer of layersOf(text)) {
    for (const word of layer.split(/[^A-Za-z0-9_-]+/)) if (isIdentifier(word)) visit(word)
  }
}

/** Gives the fields that stand in the head for those of a call of MCP (`Mcp-Param-*`). */
export function visitHead(headers: ReadonlyMap<string, string>, visit: VisitField): void {
  for (const [given, value] of headers) {
    if (given.startsWith(mirror))
      visit(decodeMirrored(value), nameOf(given.slice(mirror.length), null))
  }
}

const mirror = 'mcp-param-'

/** Shorter values stand for anything. */
const identifierLengthMin = 16

export function isIdentifier(value: unknown): value is string {
  return typeof value === 'string' && value.length >= identifierLengthMin
}

/**
 * The pairs of a query or form as any receiver splits it: at `&` and `;`, before and after each
 * layer of percent-encoding, with `+` for a blank or not. A pair may occur more than once.
 */
export function* formPairs(text: string): Iterable<readonly [name: string, value: string]> {
  for (const layer of layersOf(text)) {
    for (const [pair] of layer.matchAll(/[^&;?#\r\n]+/g)) {
      const mark = pair.indexOf('=')
      const name = mark < 0 ? pair : pair.slice(0, mark)
      const value = mark < 0 ? '' : pair.slice(mark + 1)
      yield [name, value]
      if (value.includes('+')) yield [name, value.replaceAll('+', ' ')]
    }
  }
}

function layersOf(text: string): readonly string[] {
  const layers = [text]
  for (let layer = text; layers.length <= layersMax && layer.includes('%'); layers.push(layer)) {
    const next = undoPercent(layer)
    if (next === layer) break
    layer = next
  }
  return layers
}

/** `message[task][id]`, `message.task-id` and `message/taskId` are paths of names in one name. */
function nameOf(given: string, outer: FieldName | null): FieldName {
  const around = outer?.topics ?? 0
  if (/^[A-Za-z0-9_]*$/.test(given)) {
    const word = foldedName(given)
    const own = topicsOf(word)
    return {
      ...{ word, whole: word, isListed: false, isOpaque: false },
      ...{ topics: around | own, isSpeaking: own !== 0, outer },
    }
  }
  const parts = foldedWord(given)
    .split(/[^a-z0-9_]+/)
    .map((part) => part.replaceAll('_', ''))
  // Numbers and nothing are places in a list.
  const words = parts.filter((part) => !/^[0-9]*$/.test(part))
  const whole = words.join('')
  const own = topicsOf(whole)
  const isOpaque = words.length > partsMax
  const shared = { whole, isListed: false, isOpaque, topics: around | own, isSpeaking: own !== 0 }
  let name: FieldName | null = outer
  for (const word of words.length === 0 ? [''] : isOpaque ? words.slice(-1) : words) {
    name = { word, ...shared, outer: name }
  }
  return name as FieldName
}

function topicsOf(word: string): number {
  if (!speaking.test(word)) return 0
  const task = word.includes('task') || word.includes('context') ? topics.task : 0
  const event = word.includes('lastevent') ? topics.event : 0
  return task | event | (word.includes('session') ? topics.session : 0)
}
