import { latin1 } from '../text/ascii.ts'
import type { Span } from '../text/view.ts'
import { CARRYING, foldMember, HOLDING, isDescribing } from './member-roles.ts'
import { looksMade } from './secret-values.ts'

/** So much of a list is taken apart; a longer one is looked at up to there. */
export const listBytesMax = 4_096

/** A literal, a word, or what divides them. */
const PIECE = /(?<!\\)(\\*)(["'`])((?:(?!\1\2)[^\n])*)\1\2|[^\s,:=;[\]{}()"'`\\]+|=>|[:=,;[\]{}()]/g

export interface ListedValue extends Span {
  readonly text: string
  readonly isLiteral: boolean
}

interface Listed {
  readonly values: readonly ListedValue[]
  /** True if nothing in it is below a name that describes. */
  readonly isWhole: boolean
}

/**
 * A bracket, and a literal, a word of JSON, another bracket, a name or the end of the line in it.
 */
const opening =
  /^(?:[[{(]\s*(?:\\*["'`]|(?:null|true|false)\s*[,\]]|[[{(\]})]|$)|[{(]\s*[\w$.-]+\s*[:=])/
const METHOD = /^\{\s*\\*["'](?:get|put|post|delete|options|head|patch)\\*["']\s*:/
/** The text that may follow a list that is the whole value. */
const follows =
  /^\s*(?:[)\]};,\s]*$|[)\]}]*\s*[,;]\s*(?:\\*["'`]|[{[]|[\w$.-]{1,40}\s*[:=])|[)\]}]+\s|\s[\w$.-]{1,40}[:=])/

/**
 * The values of the list or object in brackets that `text` begins with, by their places in it: what
 * describes the secret is left out, and words without quotes that are as likely names. Null
 * where the bracket is part of a value.
 */
export function listedValues(text: string, isRoute: boolean): Listed | null {
  if (!opensList(text)) return null
  // `"/users/{id}/password": {"put": {…}}`: an operation, as OpenAPI describes it.
  if (isRoute && METHOD.test(text)) return { values: [], isWhole: false }
  let isWhole = true
  const values: ListedValue[] = []
  let depth = 0
  let name = ''
  /** Up to where all is below a name that describes: how deep the bracket is that ends it. */
  let describedTo = 0
  let last: ListedValue | null = null
  const keep = (): void => {
    if (last !== null && describedTo === 0 && counts(last, name)) values.push(last)
    last = null
  }
  for (const { 0: piece, 1: slashes = '', 2: quote, 3: literal, index } of text.matchAll(PIECE)) {
    if (quote !== undefined || !/^(?:=>|[:=,;[\]{}()])$/.test(piece)) {
      keep()
      const start = quote === undefined ? index : index + slashes.length + 1
      const inner = quote === undefined ? piece : (literal ?? '')
      last = { start, end: start + inner.length, text: inner, isLiteral: quote !== undefined }
      continue
    }
    if (piece === ':' || piece === '=' || piece === '=>') {
      name = last === null ? name : last.text
      last = null
      continue
    }
    keep()
    if (piece === ',' || piece === ';') name = ''
    else if (/[[{(]/.test(piece)) {
      depth++
      if (describedTo === 0 && name !== '' && isDescribing(name)) {
        describedTo = depth
        isWhole = false
      }
      name = ''
    } else if (depth-- === describedTo) describedTo = 0
    if (depth <= 0) return follows.test(text.slice(index + 1)) ? { values, isWhole } : null
  }
  keep()
  return { values, isWhole }
}

/** Reports whether the text is worth parsing as a list. */
export function opensList(text: string): boolean {
  return opening.test(text)
}

/**
 * This many bytes of a text decide whether a list opens, unless its first name extends beyond them.
 */
const openingBytes = 256
const unended = /^[{(]\s*[\w$.-]+\s*$/

/**
 * Reports whether the text at `at` may open a list, by its first bytes: the line of a bracket that
 * does not open one is not worth reading.
 */
export function mayOpenList(bytes: Uint8Array, at: number, to: number): boolean {
  const head = latin1(bytes, at, Math.min(to, at + openingBytes))
  return opensList(head) || (head.length === openingBytes && unended.test(head))
}

function counts({ text, isLiteral }: ListedValue, name: string): boolean {
  if (isDescribing(name) && name !== '') return false
  const member = foldMember(name)
  return isLiteral || looksMade(text) || HOLDING.has(member) || CARRYING.has(member)
}
