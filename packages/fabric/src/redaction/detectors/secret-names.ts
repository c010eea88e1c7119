import type { DataClass } from '../redactor.ts'
import { textsBehind } from '../text/decode.ts'
import { fold } from '../text/fold.ts'
import { ownText } from '../text/own-text.ts'
import { everyMarker } from './marker.ts'

/**
 * Kinds of secret, by the least value that counts as one: for a password anything, for a key more
 * than a word, for a token sixteen characters with a digit. `secret-values.ts` holds the rules.
 */
export type SecretKind = 'password' | 'key' | 'token' | 'cookie' | 'login' | 'pass' | 'pin' | 'code'

export interface SecretRule {
  readonly kind: SecretKind
  readonly dataClass: DataClass
  readonly detector: string
}

/** A row of the table: names as words, so that every way to join them is known. */
interface Row extends SecretRule {
  readonly names: readonly string[]
  /** True if a name that ends in one of them counts: `db_password`, `stripeSecretKey`. */
  readonly asEnding: boolean
}

const list = (text: string): readonly string[] => text.split(',').map((name) => name.trim())
const credential = { dataClass: 'credential', detector: 'field-secret' } as const

/**
 * Every name of a secret, for every container and every layer: this is the only list. Written in
 * lower case; SECURITY.md shows them to users, and a test compares the two.
 */
export const SECRET_NAMES: readonly Row[] = [
  {
    ...credential,
    kind: 'password',
    asEnding: true,
    names: list(
      'password, pass word, passwort, passwd, passphrase, pass phrase, passcode, pass code, pwd, pswd, passord, kennwort, contrasena, mot de passe, wachtwoord, senha, haslo, losenord, heslo, parola, sifre, salasana, adgangskode, jelszo, secret, secret key base, connection string, security answer',
    ),
  },
  {
    ...credential,
    kind: 'key',
    asEnding: true,
    names: list(
      'api key, app key, access key, private key, secret key, signing key, encryption key, decryption key, master key, shared key, account key, storage key, auth key, ssh key, deploy key, hmac key, recovery key',
    ),
  },
  {
    ...credential,
    kind: 'key',
    asEnding: true,
    names: list(
      'access token, refresh token, auth token, session token, bearer token, id token, api token, private token, security token, deploy token, bot token, csrf token, sas token, service token, oauth token, jwt token, github token, gitlab token, npm token, slack token',
    ),
  },
  {
    ...credential,
    kind: 'login',
    asEnding: true,
    names: list('credential, credentials, authorization'),
  },
  {
    ...credential,
    detector: 'field-token',
    kind: 'token',
    asEnding: false,
    names: list('token, jwt, auth, bearer'),
  },
  {
    ...credential,
    detector: 'field-token',
    kind: 'cookie',
    asEnding: false,
    names: list('cookie, set cookie'),
  },
  {
    ...credential,
    detector: 'field-password',
    kind: 'pass',
    asEnding: false,
    names: list(
      'pass, pw, psw, psk, wpa psk, db pass, user pass, smtp pass, admin pass, root pass, mail pass',
    ),
  },
  { ...credential, detector: 'field-password', kind: 'pin', asEnding: false, names: list('pin') },
  {
    dataClass: 'card',
    detector: 'card-verification-code',
    kind: 'code',
    asEnding: false,
    names: list('cvv, cvv2, cvc, cvc2, security code'),
  },
]

/** Names in other alphabets, also inside of longer names, and names with accents. */
export const FOREIGN_NAMES: readonly string[] = list(
  'пароль, 密码, 密碼, 口令, パスワード, 暗証番号, 비밀번호, 암호, κωδικός, κωδικος, كلمة المرور, كلمة السر, סיסמה, סיסמא, รหัสผ่าน, पासवर्ड, hasło, lösenord, contraseña, şifre, jelszó, mật khẩu, passwørd',
)

/** Follows a name where there are several of a kind, or several forms of one. */
export const VARIANT_WORDS: readonly string[] = list(
  'confirm, confirmation, confirmed, repeat, repeated, again, verify, verification, value, val, plain, plaintext, text, raw, string, str, new, old, current, prev, previous, hash, enc, encrypted, encoded, base64, prod, production, dev, test, stage, staging, live, db, database, admin, root, primary, secondary, backup, main',
)
const VARIANTS = new RegExp(`(?:${VARIANT_WORDS.join('|')}|v?\\d+)$`)
/** `password_new_prod_2`: more of them than this name nothing. */
const variantsMax = 4

/** Letters that have a plain form by no rule of Unicode. */
const STROKED: ReadonlyMap<string, string> = new Map([
  ['ł', 'l'],
  ['ø', 'o'],
  ['đ', 'd'],
  ['ı', 'i'],
  ['ß', 'ss'],
])

/** The table by the names without separators. */
const EXACT = new Map<string, SecretRule>()
const ENDINGS: (readonly [ending: string, rule: SecretRule])[] = []
for (const { names, asEnding, kind, dataClass, detector } of SECRET_NAMES) {
  const rule = { kind, dataClass, detector }
  for (const name of names) {
    const plain = name.replaceAll(' ', '')
    EXACT.set(plain, rule)
    if (asEnding) ENDINGS.push([plain, rule])
  }
}
const passwordRule: SecretRule = { ...credential, kind: 'password' }
/** By their letters; those of which only plain letters are left are names like the others. */
const FOREIGN: string[] = []
for (const name of FOREIGN_NAMES.map((each) => foldName(each))) {
  if (!/^[a-z]+$/.test(name)) FOREIGN.push(name)
  else if (!EXACT.has(name)) {
    EXACT.set(name, passwordRule)
    ENDINGS.push([name, passwordRule])
  }
}
/** All that a name in ASCII has in it, its separators aside, where it is one of a secret. */
export const PLAIN_NAMES: readonly string[] = [...EXACT.keys()]

const STRENGTHS: readonly SecretKind[] = ['password', 'key', 'login']
const weakness = ({ kind }: SecretRule): number => {
  const at = STRENGTHS.indexOf(kind)
  return at < 0 ? STRENGTHS.length : at
}

/** Of two rules that apply, the one that finds more. */
export function stronger(one: SecretRule | null, other: SecretRule): SecretRule {
  return one !== null && weakness(one) <= weakness(other) ? one : other
}

/** Names that messages repeat; each costs several patterns to judge. */
const known = new Map<string, SecretRule | null>()
const knownMax = 4_096
/** Of a longer name this much of the end is judged. */
export const secretNameLengthMax = 256

/** Characters that can pad a name. */
const nothing = /[\p{M}\p{C}\p{Z}\p{P}\p{Default_Ignorable_Code_Point}]/gu

/** The rule for what has this name, or null. A plural names several of the same. */
export function secretRule(given: string): SecretRule | null {
  const name =
    given.length > secretNameLengthMax
      ? given.replaceAll(nothing, '').slice(-secretNameLengthMax)
      : given
  const found = known.get(name)
  if (found !== undefined) return found
  const rule = judgeName(name)
  // Filled by any client: restarted, so that none pays for the names of others.
  if (known.size >= knownMax) known.clear()
  known.set(ownText(name), rule)
  return rule
}

function judgeName(given: string): SecretRule | null {
  // A member name that was masked is a marker, and must not become the name of a secret by that.
  const name = given.replaceAll(everyMarker, 'masked')
  // `%70assword`, `&#112;assword`: escapes are taken off as they are taken off texts.
  for (const text of textsOf(name)) {
    const rule = judgePlain(text)
    if (rule !== null) return rule
  }
  return null
}

/**
 * The texts behind the escapes of a name, also of those with styled letters or what shows nothing
 * within.
 */
function textsOf(name: string): readonly string[] {
  const texts = textsBehind(name, escapeLayersMax)
  if (!/[%&\\\uff05\uff06\uff3c]/.test(name) || isAscii(name)) return texts
  return [...textsBehind(foldLetters(name), escapeLayersMax), ...texts]
}

function isAscii(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text)
}

const escapeLayersMax = 2

function judgePlain(name: string): SecretRule | null {
  let plain = foldName(name)
  if (FOREIGN.some((each) => plain.includes(each))) return passwordRule
  plain = plain.replaceAll(/[^a-z0-9]/g, '')
  for (let i = 0; i <= variantsMax; i++) {
    const rule = ruleOf(plain)
    if (rule !== null) return rule
    const shorter = plain.replace(VARIANTS, '')
    if (shorter === plain) return null
    plain = shorter
  }
  return null
}

/**
 * Lower case, without separators, accents and what shows nothing; styled letters and those of other
 * alphabets as the Latin ones they look like, as texts are folded.
 */
function foldName(name: string): string {
  let folded = name.toLowerCase()
  if (!isAscii(folded)) {
    folded = folded.normalize('NFKD').replaceAll(/[łøđıß]/g, (letter) => STROKED.get(letter) ?? '')
    folded = foldLetters(folded).toLowerCase().replaceAll(/\p{M}/gu, '')
  }
  return folded.replaceAll(/[^\p{L}\p{N}]/gu, '')
}

function foldLetters(text: string): string {
  const bytes = Buffer.from(text)
  const view = fold({ bytes, from: 0, to: bytes.length, map: null, whole: null })
  return view === null ? text : Buffer.from(view.bytes.subarray(view.from, view.to)).toString()
}

/**
 * Returns a member's name without escapes and styled letters, with its case kept: neither may hide
 * the words that identify `name` and `value` of a pair. Returns several if its escapes can be read
 * in several ways.
 */
export function plainMembers(name: string): readonly string[] {
  if (/^[^%&\\\x80-\uffff]*$/.test(name)) return [name]
  return textsOf(name).map((text) => (isAscii(text) ? text : foldLetters(text)))
}

function ruleOf(plain: string): SecretRule | null {
  const single = plain.endsWith('s') ? plain.slice(0, -1) : plain
  // Ends in "id token" by its letters alone.
  if (single.endsWith('validtoken')) return null
  const exact = EXACT.get(plain) ?? EXACT.get(single)
  if (exact !== undefined) return exact
  const found = ENDINGS.find(([ending]) => plain.endsWith(ending) || single.endsWith(ending))
  return found === undefined ? null : found[1]
}

/** Reports whether the name is exactly one of the table: `password`, `API key`. */
export function isBareSecretName(text: string): boolean {
  if (text.length > secretNameLengthMax) return false
  const plain = foldName(textsBehind(text, escapeLayersMax)[0] ?? text)
  return EXACT.has(plain) || FOREIGN.includes(plain)
}
