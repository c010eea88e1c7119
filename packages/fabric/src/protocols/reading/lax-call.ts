import { asciiOf } from '@countersign/protocol'
import { lookedUpMethods } from './operations.ts'
import { freeWork, STEPS, type Work } from './reading-steps.ts'
import { readingsOf } from './text-readings.ts'
import { WordMatcher } from './word-matcher.ts'

/**
 * Without either of these no reader finds a call. Members with a colon or an equals sign behind.
 */
const marks = new WordMatcher({
  jsonrpc: ['jsonrpc'],
  method: ['method'],
  member: ['^method:', '^result:', '^error:'],
})

const everyday = ['initialize', 'ping', 'notifications/']
/** As the whole of a value: "the method initializes" names none. */
const everydayValues = ['initialize$', 'ping$', 'notifications/']

/**
 * The methods of A2A and MCP, each as far as it is unlike other text. `everyday` are those whose
 * names are words of any text: these count next to `jsonrpc`, behind `method`, and where YAML's
 * aliases stand for either.
 */
const methods = new WordMatcher({
  method: patternsOf(lookedUpMethods.filter((name) => !isEveryday(name))),
  everyday: everydayValues.map((name) => `^${name}`),
  value: ['~method:', 'method', 'methodname'].flatMap((name) =>
    everydayValues.map((value) => `${name}_${value}`),
  ),
  alias: ['method_:*'],
  anchor: ['~& method'],
})

function isEveryday(name: string): boolean {
  return everyday.some((one) => name.startsWith(one))
}

/**
 * Up to six letters after a slash, and up to fourteen of one word, distinguish a method from other
 * text.
 */
function patternsOf(names: readonly string[]): string[] {
  const patterns = names.map((name) => {
    const [head = '', tail] = name.toLowerCase().split('/', 2)
    return tail === undefined ? `^${head.slice(0, 14)}` : `${head}/${tail.slice(0, 6)}`
  })
  return [...new Set(patterns)]
}

/**
 * Reports whether some reader could find an A2A or MCP call in `text`, in any notation: JSON with
 * comments, single quotes, a prefix or a second document after it, JSON5, YAML, XML, a form whose
 * fields are the members or whose field holds the call. It looks for the words that every notation
 * has to write, not for any notation, so it finds more calls than there are. It never decides which
 * operation a call requests, only that the text must not pass as something else. Linear in the
 * text.
 */
export function mayHoldCall(text: string, work: Work = freeWork): boolean {
  for (const reading of readingsOf(text, work)) if (namesCall(reading, work)) return true
  return false
}

function namesCall(text: string, work: Work): boolean {
  work.spend(text.length * STEPS.clueByte)
  const marked = marks.find(text)
  const isRpc = marked.has('jsonrpc')
  if (isRpc && marked.has('member')) return true
  if (isRpc || marked.has('method')) {
    work.spend(text.length * STEPS.wordByte)
    const found = methods.find(text)
    if (found.has('method') || found.has('value')) return true
    if (found.has('everyday')) {
      work.spend(text.length * STEPS.wordByte)
      const isAliased = (found.has('alias') || found.has('anchor')) && hasAlias(text)
      if (isRpc || isAliased || isTable(text)) return true
    }
  }
  return hidesValue(text, work)
}

/**
 * Matches the start of a name that some notation may take for the name of a YAML anchor or alias.
 */
const reference = /[&*]([^\s,[\]{}+\\"'%&<>]*)/g
/** The start of a comment or of emphasis, and its end: no name of an alias. */
const blankName = /^\*(?:$|[\s+])/

/**
 * Reports whether the text holds an alias together with its anchor. Stars in comments do not count.
 */
function hasAlias(text: string): boolean {
  const names: Record<'&' | '*', Set<string>> = { '&': new Set(), '*': new Set() }
  for (const { 0: whole, 1: name = '', index } of text.matchAll(reference)) {
    const sign = whole.startsWith('&') ? '&' : '*'
    if (name === '' && blankName.test(`*${text[index + 1] ?? ''}`)) continue
    names[sign].add(name)
  }
  return Array.from(names['*']).some((name) => names['&'].has(name))
}

/** The head of a column, whose values stand in other lines, and a value of it alone in its cell. */
const methodCell = /(?:^|[,;\t|])[ "']*method(?:name)?[ "']*(?:$|[,;\t|\r\n])/im
const everydayCell =
  /(?:^|[,;\t|\r\n])[^\w,;\t|\r\n]*(?:initialize|ping|notifications\/\w*)[^\w,;\t|\r\n]*(?:$|[,;\t|\r\n])/im
const ascii = /^[\0-\x7f]*$/

/** Letters that fold to those of a word are found in any cell. */
function isTable(text: string): boolean {
  if (ascii.test(text)) return methodCell.test(text) && everydayCell.test(text)
  return methodCell.test(text.replaceAll(unseen, '').replaceAll(/[^\0-\x7f]/gu, foldedCharacter))
}
const unseen = /[\p{Default_Ignorable_Code_Point}\p{M}]/gu

/** One by one: `normalize` sorts a run of marks, in time quadratic in their number. */
function foldedCharacter(character: string): string {
  return /\p{Zs}/u.test(character) ? ' ' : (asciiOf(character.codePointAt(0) ?? 0) ?? character)
}

/**
 * Reports whether the text uses a notation that expresses a word by base64, or by a name defined
 * elsewhere, without showing its letters.
 */
function hidesValue(text: string, work: Work): boolean {
  work.spend(text.length * STEPS.clueByte)
  return hidden.some((form) => form.test(text)) || hasBinaryTag(text)
}

/** YAML's tag for base64, by either name, with or without an anchor before it. */
const binaryTag = /!{1,2}binary(?:[\s+"']|$)/gi

/**
 * Reports whether such a tag is at the start of a node. Looks back over blanks, and over the token
 * before them, which may be an anchor: the text between two tags is read a fixed number of times.
 */
function hasBinaryTag(text: string): boolean {
  for (const { index } of text.matchAll(binaryTag)) {
    let at = blankStart(text, index)
    if (at < index) {
      const token = tokenStart(text, at)
      if (text.charAt(token) === '&' && token < at) at = blankStart(text, token)
    }
    if (at === 0 || /[:,?[{(\r\n\u0085\u2028\u2029-]/.test(text.charAt(at - 1))) return true
  }
  return false
}

function tokenStart(text: string, at: number): number {
  let start = at
  while (start > 0 && !/[\s+]/.test(text.charAt(start - 1))) start--
  return start
}

/** Returns the start of the blanks before `at`, in its line. */
function blankStart(text: string, at: number): number {
  let start = at
  while (start > 0 && /[^\S\r\n\u2028\u2029]|\+/.test(text.charAt(start - 1))) start--
  return start
}

const hidden: readonly RegExp[] = [
  /2002:binary/i,
  // Another name for any tag, at the start of a line.
  /(?:^|[\r\n\u0085\u2028\u2029])[ \t+\ufeff]*%TAG[\s+]+!/i,
  // Entities of a document's own, or of one that its receiver would load.
  /<!ENTITY/i,
  /<!DOCTYPE[^<>]*\bSYSTEM[\s+]*["'](?!about:legacy-compat)/i,
  /<!DOCTYPE[^<>]*\bPUBLIC[\s+]*(?:"[^"<>]*"|'[^'<>]*')[\s+]*["'](?!https?:\/\/www\.w3\.org\/)/i,
]
