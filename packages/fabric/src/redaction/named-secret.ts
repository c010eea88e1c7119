import { ALNUM, KIND, latin1 } from './ascii.ts'
import { type FieldRule, findFieldRule, isFieldValue } from './field-names.ts'
import type { Scan } from './view.ts'

/**
 * Stems of the names of secrets, as they occur in text: `password = …`, `'api_key': '…'`,
 * `<password>…</password>`, `--token …`. Case does not matter.
 */
export const SECRET_STEMS = [
  'passw',
  'passphrase',
  'passcode',
  'pwd',
  'kennwort',
  'contrase',
  'motdepasse',
  'wachtwoord',
  'senha',
  'secret',
  'token',
  'apikey',
  'api_key',
  'api-key',
  'api key',
  'accesskey',
  'access_key',
  'access-key',
  'privatekey',
  'private_key',
  'private-key',
  'signingkey',
  'signing_key',
  'credential',
] as const

/** A name is read this far to either side of its stem. */
const nameBytesMax = 48
/** Between a name and its value: quotes, escapes of quotes, an operator, a tag, white space. */
const assignmentBytesMax = 48
const valueBytesMax = 1024

/** Letters, digits and what joins them in a name. */
const NAME = KIND.map((kind, byte) =>
  (kind & ALNUM) !== 0 || byte === 0x5f || byte === 0x2d || byte >= 0x80 ? 1 : 0,
)

/** `"`, `'`, `` ` ``, and their escapes, however many layers of JSON they went through. */
const quotes = '(?:\\\\*["\'`])?'
/** `: `, `=`, `=>`, `:=`; the end of a tag; or the attribute or member that holds the value. */
const operator = '(?:[:=]+>?(?!//)|>)'
const member = '(?:value|val|content|data|text|default)'
const assignment = new RegExp(
  `^${quotes}\\s*(?:,?\\s*${quotes}${member}${quotes}\\s*)?${operator}\\s*(${quotes})`,
  'i',
)
/** The rest of a start tag with attributes. */
const tag = /^\s[^<>]*>\s*()/
/** In prose and on command lines a blank may do; the value then has to look like one. */
const prose = /^\s+(?:is|was|are|=|to)\s+|^\s+/i

/** Reports the value of the secret whose name has a stem at `at`. Looks at a bounded number of bytes. */
export function scanNamedSecret(scan: Scan, at: number, stem: string): void {
  const { bytes, from, to } = scan.view
  let start = at
  while (start > from && at - start < nameBytesMax && NAME[bytes[start - 1] as number] === 1)
    start--
  let end = at + stem.length
  const limit = Math.min(to, end + nameBytesMax)
  while (end < limit && NAME[bytes[end] as number] === 1) end++
  const name = Buffer.from(bytes.subarray(start, end)).toString()
  // `[CREDENTIAL:…]` is our own marker.
  if (name === 'CREDENTIAL' && bytes[start - 1] === 0x5b) return
  const rule = findFieldRule(name)
  if (rule === null) return
  const value = valueAfter(scan, end, start)
  if (value === null) return
  const text = Buffer.from(bytes.subarray(value.start, value.end)).toString()
  if (!isFieldValue(rule, text) || (!value.isQuoted && !isSecretWord(text, value, rule))) return
  scan.found({ dataClass: rule.dataClass, detector: rule.detector, ...value })
}

interface Value {
  readonly start: number
  readonly end: number
  readonly isQuoted: boolean
  /** Whether an operator stands before it. */
  readonly isAssigned: boolean
  /** Whether it ends with its line, its item or the text. */
  readonly isLast: boolean
}

function valueAfter({ view }: Scan, end: number, nameStart: number): Value | null {
  const { bytes, to } = view
  const excerpt = latin1(bytes, end, Math.min(to, end + assignmentBytesMax))
  const before = bytes[nameStart - 1]
  const isTag = before === 0x3c || before === 0x3a
  const assigned = assignment.exec(excerpt) ?? (isTag ? tag.exec(excerpt) : null)
  const found = assigned ?? prose.exec(excerpt)
  if (found === null) return null
  // Without an operator: an option of a command, or a sentence that says what it is.
  const isOption = bytes[nameStart] === 0x2d
  if (assigned === null && !isOption && !/^\s+(?:is|was|=)\s/i.test(excerpt)) return null
  const start = end + found[0].length
  const quote = assigned?.[1] ?? ''
  return quote === ''
    ? bareValue(view, start, assigned !== null || isOption)
    : quotedValue(view, start, quote)
}

/** To the same quote again, with as many backslashes before it. */
function quotedValue({ bytes, to }: Scan['view'], start: number, quote: string): Value | null {
  const limit = Math.min(to, start + valueBytesMax)
  const text = latin1(bytes, start, limit)
  const length = text.indexOf(quote)
  if (length < 0) return null
  return { start, end: start + length, isQuoted: true, isAssigned: true, isLast: true }
}

function bareValue({ bytes, to }: Scan['view'], start: number, isAssigned: boolean): Value | null {
  const limit = Math.min(to, start + valueBytesMax)
  let end = start
  while (end < limit && !ENDS_VALUE.has(bytes[end] as number)) end++
  const next = bytes[end]
  // A full stop ends the sentence, not the secret.
  const dot = bytes[end - 1] === 0x2e && (end >= to || next === 0x20 || next === 0x0a)
  if (dot) end--
  const isLast = end >= to || dot || (next !== 0x20 && next !== 0x5b)
  // `get_password(…)` is a call.
  return next === 0x28 ? null : { start, end, isQuoted: false, isAssigned, isLast }
}

/** White space, quotes, comma, semicolon, ampersand, brackets. */
const ENDS_VALUE: ReadonlySet<number> = new Set(
  Array.from('\t\n\r "\'`,;&<>()[]{}', (sign) => sign.charCodeAt(0)),
)

/** References are how a secret ought to be written: a variable, a member, a call. */
const reference =
  /^(?:\$|%\w+%$|@|process\.|os\.|env\.|config\.|self\.|this\.|args\.|req(?:uest)?\.)/i

/** Whether a value without quotes is a secret rather than a word of the sentence. */
function isSecretWord(text: string, value: Value, rule: FieldRule): boolean {
  if (reference.test(text) || text.length < rule.lengthMin) return false
  const looksMade = /[^a-z]/.test(text.slice(1)) && !/^[A-Z][a-z]+$/.test(text)
  if (looksMade) return !/^https?:\/\//.test(text)
  return value.isAssigned && value.isLast
}
