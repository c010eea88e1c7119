import { foldedWord, withoutUnseen } from '@countersign/protocol'

const control = /\p{Cc}/u
const printable = /^[\x20-\x7e]*$/
/** As it is to every reader. */
const plainName = /^[a-z0-9]*$/

/**
 * Returns a member's name as the laxest reader takes it. Go's `encoding/json` and .NET's web
 * defaults ignore case, Go also folds `ſ` and the Kelvin sign, protobuf's JSON accepts the
 * snake-case spelling of every name, and a reader in C ends a name at its first NUL. A name that
 * they accept as one that policy decides by must not escape this reader.
 */
export function foldedName(name: string): string {
  // Nearly every name is one: the rest costs as much as reading the message.
  if (plainName.test(name)) return name
  if (printable.test(name)) return withoutUnderscores(name.toLowerCase())
  const [beforeNul = ''] = name.split('\0', 1)
  return withoutUnderscores(foldedWord(beforeNul))
}

function withoutUnderscores(name: string): string {
  return name.includes('_') ? name.replaceAll('_', '') : name
}

/** Its letters and digits alone: some readers trim names, or drop what no name has. */
export function bareWord(word: string): string {
  if (plainName.test(word)) return word
  const folded = foldedWord(word)
  return plainName.test(folded) ? folded : folded.replaceAll(/[^a-z0-9]/g, '')
}

/**
 * A member of `record` that some reader takes for one of `names` and others do not; null if none.
 */
export function findLookalike(
  record: Readonly<Record<string, unknown>>,
  names: ReadonlySet<string>,
): string | null {
  for (const name of Object.keys(record)) {
    if (names.has(name)) continue
    if (names.has(foldedName(name)) || names.has(bareWord(name))) return name
  }
  return null
}

/**
 * Reports whether readers may differ over which words these are: some cut or drop characters that
 * others keep.
 */
export function isAmbiguousWord(words: string): boolean {
  return control.test(words) || words !== words.trim() || withoutUnseen(words) !== words
}
