import { ALNUM, DIGIT, KIND } from './ascii.ts'
import { fold } from './fold.ts'
import type { DataClass } from './redactor.ts'

/**
 * Names whose value is a secret whatever it looks like, without separators and in lower case. A name
 * matches that is one of them, or ends in one: `db_password`, `x-api-key`, `stripeSecretKey`. What
 * tells several of a kind apart does not count: `password1`, `password_confirmation`, `pwd_old`.
 */
const ENDINGS = [
  'password',
  'passwort',
  'kennwort',
  'contrasena',
  'motdepasse',
  'wachtwoord',
  'senha',
  'passwd',
  'passphrase',
  'passcode',
  'pwd',
  'secret',
  'secretkey',
  'apikey',
  'accesskey',
  'privatekey',
  'signingkey',
  'encryptionkey',
  'masterkey',
  'accesstoken',
  'refreshtoken',
  'authtoken',
  'sessiontoken',
  'bearertoken',
  'idtoken',
  'apitoken',
  'clientsecret',
  'connectionstring',
  'sharedkey',
  'secretaccesskey',
  'accountkey',
  'credentials',
  'credential',
  'authorization',
  'webhooksecret',
]
/** Names that are secrets only by themselves; as endings they would catch `pageToken` and the like. */
const EXACT: ReadonlyMap<string, FieldRule> = new Map<string, FieldRule>([
  ['token', { dataClass: 'credential', detector: 'field-token', lengthMin: 16 }],
  ['jwt', { dataClass: 'credential', detector: 'field-token', lengthMin: 16 }],
  ['pass', { dataClass: 'credential', detector: 'field-password', lengthMin: 4 }],
  ['pin', { dataClass: 'credential', detector: 'field-password', lengthMin: 4 }],
  ['cookie', { dataClass: 'credential', detector: 'field-token', lengthMin: 16 }],
  ['setcookie', { dataClass: 'credential', detector: 'field-token', lengthMin: 16 }],
  ['cvv', { dataClass: 'card', detector: 'card-verification-code', lengthMin: 3 }],
  ['cvv2', { dataClass: 'card', detector: 'card-verification-code', lengthMin: 3 }],
  ['cvc', { dataClass: 'card', detector: 'card-verification-code', lengthMin: 3 }],
  ['cvc2', { dataClass: 'card', detector: 'card-verification-code', lengthMin: 3 }],
  ['securitycode', { dataClass: 'card', detector: 'card-verification-code', lengthMin: 3 }],
])

export interface FieldRule {
  readonly dataClass: DataClass
  readonly detector: string
  /** Shorter values are states and flags ("set", "no"), not secrets. */
  readonly lengthMin: number
}

const secretRule: FieldRule = { dataClass: 'credential', detector: 'field-secret', lengthMin: 4 }

/** Values that describe a secret instead of being one, as schemas and settings hold them. */
const DESCRIPTIONS = new Set(
  'string number integer boolean object array null none true false required optional hidden redacted masked unset missing invalid valid expired changeme example placeholder password secret token apikey undefined empty unknown enabled disabled bearer basic'.split(
    ' ',
  ),
)

/** What follows a name where there are several of a kind, or several forms of one. */
const VARIANT_WORDS = [
  ...['confirm', 'confirmation', 'confirmed', 'repeat', 'repeated', 'again', 'verify'],
  ...['verification', 'value', 'val', 'plain', 'plaintext', 'text', 'raw', 'string', 'str', 'new'],
  ...['old', 'current', 'prev', 'previous', 'hash', 'enc', 'encrypted', 'encoded', 'base64'],
]
const VARIANTS = new RegExp(`(?:${VARIANT_WORDS.join('|')})$`)

/** Names in other alphabets, of which the form in ASCII leaves nothing. */
const FOREIGN: ReadonlySet<string> = new Set([
  'пароль',
  '密码',
  '密碼',
  '口令',
  'パスワード',
  '비밀번호',
  'κωδικός',
  'كلمةالمرور',
  'סיסמה',
])

/** How many letters at the end of a name tell that it may be one of the above. */
const tailLetters = 4
/** The last letters of every name above and of its plural, five bits each; all of a shorter name. */
const TAILS: ReadonlySet<number> = buildTails()

function buildTails(): Set<number> {
  const tails = new Set<number>()
  for (const name of [...ENDINGS, ...EXACT.keys(), ...VARIANT_WORDS]) {
    for (const form of [name, `${name}s`]) {
      let tail = 0
      for (const letter of form.slice(-tailLetters))
        tail = (tail << 5) | (letter.charCodeAt(0) & 31)
      tails.add(tail)
      // `pwd` and `jwt` have fewer letters: as the end of a longer name they match by what they have.
      if (form.length < tailLetters) {
        for (let letter = 0; letter < 32; letter++) tails.add((letter << (5 * form.length)) | tail)
      }
    }
  }
  return tails
}

/** The last letters alone, by five bits. */
const LAST_LETTERS = new Uint8Array(32)
for (const tail of TAILS) LAST_LETTERS[tail & 31] = 1

/** Turns most names away by their last letters, before anything is made of them. */
export function mayNameSecret(bytes: Uint8Array, from: number, end: number): boolean {
  const to = endOfName(bytes, from, end)
  const last = bytes[to - 1] ?? 0
  if (last >= 0x80) return true
  if (LAST_LETTERS[last & 31] === 0 && ((KIND[last] as number) & ALNUM) !== 0) return false
  let tail = 0
  for (let i = Math.max(from, to - tailLetters); i < to; i++) {
    const byte = bytes[i] as number
    // A separator among the last letters hides the others: look closer.
    if (((KIND[byte] as number) & ALNUM) === 0) return to - from > 2
    tail = (tail << 5) | (byte & 31)
  }
  return TAILS.has(tail)
}

/** Where the name ends without the number that tells it from others. */
function endOfName(bytes: Uint8Array, from: number, end: number): number {
  let to = end
  while (to > from && ((KIND[bytes[to - 1] as number] as number) & DIGIT) !== 0) to--
  return to
}

/** Names that messages repeat; each costs several patterns to judge. */
const known = new Map<string, FieldRule | null>()
const knownMax = 4_096
const knownLengthMax = 64

/** The rule for a field of this name, or null. A plural names a list of the same. */
export function findFieldRule(name: string): FieldRule | null {
  const found = known.get(name)
  if (found !== undefined) return found
  const rule = judgeName(name)
  if (name.length <= knownLengthMax) {
    // Filled by whoever sends names: started afresh, so that no one pays for what others made up.
    if (known.size >= knownMax) known.clear()
    known.set(name, rule)
  }
  return rule
}

function judgeName(name: string): FieldRule | null {
  const lower = name.toLowerCase()
  const folded = /^[\x20-\x7e]*$/.test(lower) ? lower : foldName(lower)
  if (FOREIGN.has(lower.replaceAll(/[\s_.:-]/g, ''))) return secretRule
  const plain = folded.replaceAll(/[^a-z0-9]/g, '')
  const numbered = plain.replace(/\d+$/, '')
  return ruleOf(plain) ?? ruleOf(numbered) ?? ruleOf(numbered.replace(VARIANTS, ''))
}

/** Accents taken off, and letters of other alphabets written as the Latin ones they look like. */
function foldName(name: string): string {
  const bytes = Buffer.from(name.normalize('NFKD'))
  const view = fold({ bytes, from: 0, to: bytes.length, map: null, whole: null })
  return view === null ? name : Buffer.from(view.bytes.subarray(view.from, view.to)).toString()
}

function ruleOf(plain: string): FieldRule | null {
  const single = plain.endsWith('s') ? plain.slice(0, -1) : plain
  const exact = EXACT.get(plain) ?? EXACT.get(single)
  if (exact !== undefined) return exact
  const isSecret = ENDINGS.some((ending) => plain.endsWith(ending) || single.endsWith(ending))
  return isSecret ? secretRule : null
}

/** Our own markers. Without nested repetition, hence linear. */
const MARKERS = /\[[A-Z]{3,10}(?:[: ]\*?[A-Za-z0-9]{0,16})?\]/g

export function withoutMarkers(text: string): string {
  return text.replaceAll(MARKERS, '')
}

/**
 * Whether `given` is what the rule is about. What is masked already does not count, so that a second
 * pass changes nothing; templates, references and words that describe are left alone.
 */
export function isFieldValue(rule: FieldRule, given: string): boolean {
  const value = withoutMarkers(given)
  if (value.length < rule.lengthMin) return false
  if (rule.dataClass === 'card') return /^\d{3,4}$/.test(value)
  if (rule.detector === 'field-token' && !/\d/.test(value)) return false
  if (/^(?:<[^<>]*>|\$\{[^{}]*\}|\{\{[^{}]*\}\}|\*+|•+|x+)$/.test(value)) return false
  // A reference to a secret is how a secret ought to be written.
  if (/^(?:secret|vault|file|env):/.test(value)) return false
  return !DESCRIPTIONS.has(value.toLowerCase())
}
