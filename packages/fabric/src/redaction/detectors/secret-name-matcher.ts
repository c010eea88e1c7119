import { ALNUM, DIGIT, ESCAPE, KIND, NON_ASCII } from '../text/ascii.ts'
import { createKeywordMatcher } from './keyword-matcher.ts'
import { PLAIN_NAMES, secretNameLengthMax, VARIANT_WORDS } from './secret-names.ts'

/** Number of letters at the end of a name that show whether it may be one of the above. */
const tailLetters = 4
/**
 * The last letters of every name above and of its plural, five bits each; all of a shorter name.
 */
const TAILS: ReadonlySet<number> = buildTails()

function buildTails(): Set<number> {
  const tails = new Set<number>()
  for (const name of [...PLAIN_NAMES, ...VARIANT_WORDS]) {
    for (const form of [name, `${name}s`]) {
      let tail = 0
      for (const letter of form.slice(-tailLetters))
        tail = (tail << 5) | (letter.charCodeAt(0) & 31)
      tails.add(tail)
      // `pwd` and `jwt` have fewer letters: as the end of a longer name they match by what they
      // have.
      addShorter(tails, tail, form.length)
    }
  }
  return tails
}

function addShorter(tails: Set<number>, tail: number, length: number): void {
  if (length >= tailLetters) return
  for (let letter = 0; letter < 32; letter++) {
    const longer = (letter << (5 * length)) | tail
    tails.add(longer)
    addShorter(tails, longer, length + 1)
  }
}

/** The last letters alone, by five bits. */
const LAST_LETTERS = new Uint8Array(32)
for (const tail of TAILS) LAST_LETTERS[tail & 31] = 1

/** Every name of the table, found in a name of which separators are passed over. */
const plainMatcher = createKeywordMatcher(PLAIN_NAMES, { caseSensitive: false })

/**
 * Turns most names away by their last letters, and the others that hold none of the table. It never
 * turns away a name that has a rule: of a name with an escape or another alphabet nothing is known.
 */
export function mayNameSecret(bytes: Uint8Array, from: number, end: number): boolean {
  // Not read here: a name of megabytes is asked about for each of the values below it.
  if (end - from > secretNameLengthMax) return true
  return mayNamePlainly(bytes, from, end) || mayHide(bytes, from, end)
}

/** As `mayNameSecret`, of bytes that are known to hold no escape and no other alphabet. */
export function mayNamePlainly(bytes: Uint8Array, from: number, end: number): boolean {
  return mayEndSecretName(bytes, from, end) && mayHoldSecretName(bytes, from, end)
}

function mayEndSecretName(bytes: Uint8Array, from: number, end: number): boolean {
  let to = end
  while (to > from && ((KIND[bytes[to - 1] as number] as number) & DIGIT) !== 0) to--
  // `api_key_v2`: too few names end like this to check more.
  if (to < end && to > from && ((bytes[to - 1] as number) | 0x20) === 0x76) return true
  const last = bytes[to - 1] ?? 0
  if (last >= 0x80) return true
  if (LAST_LETTERS[last & 31] === 0 && ((KIND[last] as number) & ALNUM) !== 0) return false
  let tail = 0
  for (let i = Math.max(from, to - tailLetters); i < to; i++) {
    const byte = bytes[i] as number
    // A separator or another alphabet among the last letters hides the others: look closer.
    if (((KIND[byte] as number) & ALNUM) === 0) return to - from > 2
    tail = (tail << 5) | (byte & 31)
  }
  return TAILS.has(tail)
}

/**
 * Reports whether the last letters may differ from those of the name: `passw%6Frd`, `api%5Fkey`.
 */
function mayHide(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    if (((KIND[bytes[i] as number] as number) & (ESCAPE | NON_ASCII)) !== 0) return true
  }
  return false
}

/** `[` of a marker, and what begins an escape. */
const MAY_HIDE: ReadonlySet<number> = new Set(Buffer.from('[%&\\'))

/**
 * Of other alphabets, of escapes and of what may be a marker, nothing is known before the name is
 * folded.
 */
function mayHoldSecretName(bytes: Uint8Array, from: number, to: number): boolean {
  const { next, classes, outputsFrom } = plainMatcher
  let state = 0
  for (let i = from; i < to; i++) {
    const byte = bytes[i] as number
    if (byte >= 0x80 || MAY_HIDE.has(byte)) return true
    if (((KIND[byte] as number) & ALNUM) === 0) continue
    state = next[state + (classes[byte] as number)] as number
    if (state >= outputsFrom) return true
  }
  return false
}
