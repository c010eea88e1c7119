import { decodeEscapes } from '../text/decode.ts'
import { fold } from '../text/fold.ts'
import type { View } from '../text/view.ts'
import { everyMarker, isMarkerText } from './marker.ts'
import { isOrdinary } from './ordinary-values.ts'
import { isBareSecretName, type SecretKind, type SecretRule, secretRule } from './secret-names.ts'

/** The form of a value: a number is not text, and text without quotes may be prose or code. */
export type ValueForm = 'text' | 'number'

/** Shorter values are states and flags ("set", "no"), not secrets. */
const lengthMin: Readonly<Record<SecretKind, number>> = {
  password: 4,
  key: 4,
  token: 16,
  cookie: 16,
  login: 4,
  pass: 4,
  pin: 4,
  code: 3,
}
/** Maximum length of a word, a reference or a sentence about a secret. */
const wordsLengthMax = 256

/**
 * Reports whether `value` is a secret, given the name's rule. Exceptions are markers (by exact
 * equality, so that a second pass changes nothing), references, placeholders, single words that
 * describe, and sentences about a secret.
 */
export function isSecretValue(rule: SecretRule, given: string, form: ValueForm = 'text'): boolean {
  const text = given.trim()
  // A marker among other text is text: only what is masked already, and nothing else, is left.
  if (isMarkerText(text)) return false
  const value = rule.kind === 'password' ? text : plainText(text)
  // A marker is longer than some of what it stands for, and makes no token of what was none.
  const isToken = rule.kind === 'token' || rule.kind === 'cookie'
  const measured = isToken ? withoutAttributes(value.replaceAll(everyMarker, '')) : value
  if (measured.length < lengthMin[rule.kind]) return false
  if (form === 'number') return isSecretNumber(rule.kind, value)
  if (rule.kind === 'code') return /^\d{3,4}$/.test(value.replaceAll(/[\s.-]/g, ''))
  if (value.length > wordsLengthMax) return true
  if (rule.kind === 'pin') return /\d/.test(value)
  if (isDescription(value) || isReference(value)) return false
  if (isStatement(value) && (isAbout(value) || namesSubject(value))) return false
  if (isOrdinary(value)) return false
  if (rule.kind === 'pass') return looksMade(value)
  if (isToken) return /\d/.test(measured)
  // `oauth2`, `passport`: kinds of credentials.
  if (rule.kind === 'login') return !/^[A-Za-z]+\d?$/.test(value)
  // A key is never a word: `KeyObject`, `include`.
  if (rule.kind === 'key') return value.length >= 16 || !/^[A-Za-z]+$/.test(value)
  return true
}

/** Of `Set-Cookie`, where and how long a cookie counts (RFC 6265, section 4.1.2). */
const withoutAttributes = (value: string): string =>
  value.replaceAll(
    /;\s*(?:max-age=\d+|expires=[\w:, +-]{1,40}|path=\/[a-z/-]{0,32}|samesite=\w{1,8})(?=;|$)/gi,
    '',
  )

/** With digits and letters of every script as ASCII, and without escapes and what shows nothing. */
function plainText(text: string): string {
  if (text.length > wordsLengthMax || !/[^\x20-\x7e]|[%&\\]/.test(text)) return text
  const bytes = Buffer.from(text)
  let view: View = { bytes, from: 0, to: bytes.length, map: null, whole: null }
  for (let layer = 0; layer < layersMax; layer++) {
    view = decodeEscapes(view) ?? view
    view = fold(view) ?? view
  }
  return Buffer.from(view.bytes.subarray(view.from, view.to)).toString()
}
const layersMax = 2

/** Numbers count things more often than they open them: `"pass": 1250`, `"tokens": 4096`. */
function isSecretNumber(kind: SecretKind, given: string): boolean {
  // `123.0`, `1.23e2`
  const number = Number(given)
  const value = Number.isSafeInteger(number) && !/^\d+$/.test(given) ? String(number) : given
  if (kind === 'code') return /^\d{3,4}$/.test(value)
  if (kind === 'pin') return /^\d{4,12}$/.test(value)
  return kind === 'password' || kind === 'key'
}

const wordSet = (text: string): ReadonlySet<string> => new Set(text.split(' '))

/** Values that describe a secret instead of being one, as schemas and settings hold them. */
const DESCRIPTIONS: ReadonlySet<string> = new Set(
  'string str text varchar number integer int boolean bool object array bytes any optional[str] null none nil undefined true false required optional hidden redacted masked unset missing invalid valid expired changeme example placeholder apikey empty unknown enabled disabled bearer basic digest oauth oauth2 include omit same-origin passkey publickey value header default inherit off warn error'.split(
    ' ',
  ),
)

export function isDescription(value: string): boolean {
  if (/^(?:\*+|•+|x+|\.+|-+|_+|[A-Za-z_-]{0,8}(?:\.\.\.|…))$/i.test(value)) return true
  if (isPlaceholder(value)) return true
  return DESCRIPTIONS.has(value.toLowerCase()) || isBareSecretName(value)
}

const placeholder = /^(?:your|insert|change|replace|enter)[-_]([A-Za-z_-]+)$/i
/** Words for the reader of a placeholder. */
const FILLERS = wordSet(
  'me this that it us here please now in with by your own a an the real actual new later before for',
)
/** Words for what a placeholder stands for, in addition to names of secrets. */
const THINGS_ASKED = wordSet('key keys token tokens id code value string user username client')

/** `YOUR_API_KEY`, `change-me-please`, `insert-token-here`; `enter-sandman` may be a password. */
function isPlaceholder(value: string): boolean {
  const words = placeholder.exec(value)?.[1]?.toLowerCase().split(/[-_]/) ?? []
  const last = words.findLast((word) => !FILLERS.has(word))
  if (last === undefined) return words.length > 0
  return THINGS_ASKED.has(last) || secretRule(last) !== null
}

const IDENTIFIER = '[A-Za-z_][A-Za-z0-9_-]*'
const PATH = `${IDENTIFIER}(?:\\.${IDENTIFIER})*`
/**
 * `${…}` with or without a default that is empty, `${{ … }}`, `{{ … }}`, `$NAME`, `%NAME%`,
 * `:name`.
 */
const WRAPPED: readonly RegExp[] = [
  new RegExp(`^\\$\\{\\s*(${PATH})\\s*(?::?[-?])?\\}$`),
  new RegExp(`^\\$?\\{\\{-?\\s*\\.?(${PATH})\\s*-?\\}\\}$`),
  new RegExp(`^[$:@](${PATH})$`),
  new RegExp(`^%\\(?(${IDENTIFIER})(?:%|\\)s)$`),
  new RegExp(`^\\$\\((${IDENTIFIER})\\)$`),
  new RegExp(`^\\{(${PATH})\\}$`),
]

/** A reference to a secret is how a secret ought to be written. */
export function isReference(value: string): boolean {
  for (const pattern of WRAPPED) {
    const name = pattern.exec(value)?.[1]
    if (name !== undefined) return isReferenceName(name)
  }
  if (/^(?:\?|\$\d{1,2}|%s|<[A-Za-z][A-Za-z _-]*\d?>)$/.test(value)) return true
  return REFERENCES.some((pattern) => pattern.test(value))
}

/** With a path, or a name of the environment: `vault:hunter2` is a secret. */
const REFERENCES: readonly RegExp[] = [
  // To a schema of the same document.
  /^#\/(?:components|definitions|\$defs)\/[\w./-]+$/,
  /^(?:secret|vault|file|env):\/{0,3}[\w.-]+(?:[/#][\w.-]+)+$/,
  /^env:[A-Z_]+$/,
  /^\$\((?:cat|<) ?\/[A-Za-z_./-]+\)$/,
  /^https:\/\/[a-z0-9-]+(?:\.[a-z0-9-]+)+(?:[/?#][^@\s]*)?$/i,
]

const HOLDERS: ReadonlySet<string> = new Set(
  'process os env environ secrets vars values config configuration settings self this args argv req request res response ctx context props options opts params row user body data state input form event var data local module exports'.split(
    ' ',
  ),
)

/**
 * `DB_PASSWORD`, `secrets.dbPassword`, `password`. A name with letters behind a digit is as likely
 * the secret itself: `$ecret1hunter`.
 */
export function isReferenceName(name: string): boolean {
  if (/\d[A-Za-z]/.test(name)) return false
  if (/^[A-Z][A-Z_]+\d*$/.test(name)) return true
  const parts = name.split('.')
  const last = parts.at(-1) ?? ''
  if (parts.length > 1 && HOLDERS.has((parts[0] ?? '').toLowerCase())) return true
  // `random_password.db.result`
  const [first = ''] = parts
  if (parts.length > 1 && first.includes('_') && secretRule(first) !== null) return true
  return secretRule(last) !== null
}

const OPENINGS =
  'is are was must should shall has have may might cannot can will needs? requires? at least at most too does do did not no minimum maximum min max please enter choose contains? see forgot'
const statement = new RegExp(
  `^(?:${OPENINGS.replaceAll(' ', '|')}|can't|1st|at)(?=[ ,])[A-Za-z0-9 ,.'()!?;:/-]*$`,
  'i',
)

/** Subjects of sentences about secrets, and about values to be filled in. */
const SUBJECTS = wordSet(
  'character characters char chars letter letters digit digits number numbers symbol symbols sign signs uppercase lowercase upper lower case word words space spaces length long longer short shorter weak strong stronger null simple common guessable required mandatory optional empty blank missing invalid valid incorrect wrong match matches matching matched same different equal expired expire expires revoked rotated changed change unchanged reset set unset stored hashed encrypted saved sent shown displayed shared used reused provided given supplied specified configured generated known public private supported allowed accepted rejected verified found available enabled disabled documentation docs settings admin administrator support',
)

/**
 * "must be at least 8 characters": words and counts, and nothing that mixes letters with digits.
 */
export function isStatement(value: string): boolean {
  if (/[A-Za-z]\d|\d[A-Za-z]/.test(value)) return false
  return statement.test(value) || isAbout(value)
}

/**
 * Reports whether a sentence names a secret. "may the force be with you" does not, and may be one.
 */
function namesSubject(value: string): boolean {
  if (value.length > wordsLengthMax) return true
  const words = value.toLowerCase().match(/[a-z]+/g) ?? []
  return words.some(
    (word) =>
      SUBJECTS.has(word) || isBareSecretName(word) || isBareSecretName(word.replace(/s$/, '')),
  )
}

const BEFORE_NAME = wordSet(
  'your the this that my a an new old current confirm repeat enter re-enter retype forgot forgotten reset change show hide set choose create invalid wrong incorrect missing update verify no temporary',
)
const THINGS = wordSet('field value input')
const SAYING = wordSet(
  'must should is are do does has have cannot may will was needs requires contains changed updated reset required expired rejected accepted',
)
/** A label, or the subject of a sentence, has no more words. */
const subjectWordsMax = 5

/**
 * "Confirm password", "Passwords do not match", "This field is required.": a secret as the subject.
 */
function isAbout(value: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9 ,.'()!?;:/-]*$/.test(value)) return false
  const words = value.toLowerCase().split(' ')
  let at = 0
  while (at < subjectWordsMax && BEFORE_NAME.has(words[at] ?? '')) at++
  const subject = (words[at] ?? '').replace(/[.!?:]$/, '')
  const isName = isBareSecretName(subject) || isBareSecretName(subject.replace(/s$/, ''))
  if (!isName && !(at > 0 && THINGS.has(subject))) return false
  return at + 1 === words.length ? at > 0 : SAYING.has(words[at + 1] ?? '')
}

/** Words that mix letters and digits, and name a thing that everybody knows. */
const KNOWN_WORDS =
  /^(?:oauth2|sha-?\d+|base(?:32|58|64)|utf-?\d+|pbkdf2|md5|x509|ed25519|es256|rs256|http2|https?\/\d(?:\.\d)?|s3|k8s|i18n|\d?password\d?|[a-z]{1,3}\d{1,2}|\d+(?:[-.,:/].*|[a-z]{1,3})?)$/i

/**
 * Reports whether one word, standing alone, was made to be a secret: it has letters together with
 * digits or signs.
 */
export function looksMade(word: string): boolean {
  if (word.length < 6 || /\s/.test(word) || KNOWN_WORDS.test(word)) return false
  if (/^(?:https?|file|ftp):\/\//.test(word)) return false
  return /[A-Za-z]/.test(word)
    ? /[^A-Za-z_.,;:'"()/-]/.test(word)
    : /\d/.test(word) && /[^\d.,:/+-]/.test(word)
}
