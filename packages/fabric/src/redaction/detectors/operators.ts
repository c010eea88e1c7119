import { hmacSha256 } from '../../lib/hmac.ts'
import { DATA_CLASSES, type DataClass, type Finding } from '../redactor.ts'
import { latin1 } from '../text/ascii.ts'
import type { View } from '../text/view.ts'

export type Operator = Exclude<Finding['operator'], 'none'>

/**
 * The masking of each class, unless the configuration sets another.
 *
 * Cards, IBANs and telephone numbers keep four characters, by which people distinguish them.
 * Addresses become a keyed hash: the same person stays the same for the agents that read on, and
 * other readers cannot find out who it is. Of social security numbers and credentials nothing is
 * kept: four digits of the one are an authenticator, and of the other every character counts.
 */
export const OPERATORS_DEFAULT: Readonly<Record<DataClass, Operator>> = {
  card: 'mask',
  iban: 'mask',
  email: 'hash',
  ssn: 'replace',
  phone: 'mask',
  credential: 'replace',
}

/** The value that a marker stands for. */
export interface Masked {
  readonly dataClass: DataClass
  readonly value: Uint8Array
  /** At most a block of SHA-256, as `hmacKey` makes it. */
  readonly hashKey: Uint8Array
  /** True if the hash distinguishes two spellings of one value. */
  readonly isExact: boolean
}

/**
 * The longest marker is `[CREDENTIAL:` with a hash and the bracket: no leaf grows by more per
 * finding.
 */
export const markerBytesMax = 28

/**
 * Reports whether a marker as `createMarker` writes it begins with the bracket at `at`. Only the
 * marker's own word is ignored, which the text would not have without it; the text next to it is
 * not exempt.
 */
export function isMarker({ bytes, to }: View, at: number): boolean {
  return bytes[at] === 0x5b && MARKER.test(latin1(bytes, at, Math.min(to, at + markerBytesMax)))
}

/** 60 bits: two addresses in a fabric of a million share a hash with probability below 10⁻⁶. */
const hashLetters = 15

/**
 * Returns the text that replaces `value`. Markers do not contain a quote, backslash, `@` or run of
 * digits, so they fit into a JSON string as they are and no detector finds anything in them.
 */
export function createMarker(operator: Operator, what: Masked): string {
  const type = what.dataClass.toUpperCase()
  if (operator === 'redact') return ''
  if (operator === 'replace') return `[${type}]`
  if (operator === 'mask') return `[${type} *${lastFour(what.value)}]`
  return `[${type}:${hash(what)}]`
}

function lastFour(value: Uint8Array): string {
  let kept = ''
  for (let i = value.length - 1; i >= 0 && kept.length < 4; i--) {
    const character = String.fromCharCode(value[i] as number)
    if (/[A-Za-z0-9]/.test(character)) kept = character + kept
  }
  // A short value would be shown whole.
  return value.length >= 8 ? kept : ''
}

/** Letters only, so that no hash can look like a number; one per half byte. */
const ALPHABET = 'bcdfghjkmnpqrstv'

/** The two letters of each byte. */
const PAIRS: readonly string[] = Array.from(
  { length: 256 },
  (_, byte) => ALPHABET.charAt(byte >> 4) + ALPHABET.charAt(byte & 15),
)

/**
 * Exactly what is made here, as a pattern: `[CARD *1111]`, `[SSN]`, `[EMAIL:` with a hash and the
 * bracket.
 */
export const MARKER_FORM: string = `\\[(?:${DATA_CLASSES.join('|').toUpperCase()})(?: \\*[A-Za-z0-9]{0,4}|:[${ALPHABET}]{${hashLetters}})?\\]`
const MARKER = new RegExp(`^${MARKER_FORM}`)

/** Returns the value in lower case, without separators that carry no meaning. */
function plainForm(dataClass: DataClass, value: Uint8Array): string {
  const { buffer, byteOffset, length } = value
  const text = Buffer.from(buffer, byteOffset, length).toString('utf8').toLowerCase()
  return dataClass === 'email' ? text : text.replaceAll(/[^\p{L}\p{N}]/gu, '')
}

/**
 * HMAC-SHA-256 (RFC 2104) over the class and the value, by its plain form unless it is to be exact.
 * Keyed, because the space of cards and telephone numbers is small enough to hash in an afternoon.
 */
function hash({ dataClass, value, hashKey, isExact }: Masked): string {
  const hashed = isExact
    ? Buffer.concat([Buffer.from(`${dataClass}\0`), value])
    : Buffer.from(`${dataClass}\0${plainForm(dataClass, value)}`)
  const digest = hmacSha256(hashKey, hashed)
  let letters = ''
  for (let i = 0; i < hashLetters >> 1; i++) letters += PAIRS[digest[i] as number]
  return letters + ALPHABET.charAt((digest[hashLetters >> 1] as number) >> 4)
}
