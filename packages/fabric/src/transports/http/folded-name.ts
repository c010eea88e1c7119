import { asciiOf } from '../../pipeline/fold-character.ts'

/** Control characters and what shows nothing: zero-width marks, direction controls, tags. */
const unseen = /[\p{Cc}\p{Cf}\p{Variation_Selector}]/gu
const control = /\p{Cc}/u
const printable = /^[\x20-\x7e]*$/

const keptMax = 1_024
const keptLengthMax = 64

/** In memory of its own: a name may be part of a text of megabytes, all of which it would keep. */
const ownText = (text: string): string => JSON.parse(JSON.stringify(text)) as string

/** As `make`, whose answers for names are kept: messages repeat them. Started afresh when full. */
function keeping(make: (name: string) => string): (name: string) => string {
  const kept = new Map<string, string>()
  return (name) => {
    const found = kept.get(name)
    if (found !== undefined) return found
    const made = make(name)
    if (name.length > keptLengthMax) return made
    if (kept.size >= keptMax) kept.clear()
    kept.set(ownText(name), ownText(made))
    return made
  }
}

/**
 * A member's name as the laxest reader takes it. Go's `encoding/json` and .NET's web defaults do not
 * look at case, Go folds `ſ` and the Kelvin sign as well, and protobuf's JSON takes the snake-case
 * spelling of every name; a reader in C ends a name at its first NUL. What they read as a name that
 * policy decides by, we must not read past.
 */
export const foldedName: (name: string) => string = keeping((name) => {
  // Nearly every name is one: the rest costs as much as reading the message.
  if (printable.test(name)) return name.toLowerCase().replaceAll('_', '')
  const [beforeNul = ''] = name.split('\0', 1)
  return foldedWord(beforeNul).replaceAll('_', '')
})

/** In one case and one width, without characters that show nothing. */
export function foldedWord(word: string): string {
  if (printable.test(word)) return word.toLowerCase()
  let folded = ''
  for (const character of word.replaceAll(unseen, '')) {
    folded += asciiOf(character.codePointAt(0) ?? 0) ?? character.toLowerCase()
  }
  return folded
}

/** Its letters and digits alone: some readers trim names, or drop what no name has. */
export const bareWord: (word: string) => string = keeping((word) =>
  foldedWord(word).replaceAll(/[^a-z0-9]/g, ''),
)

/** A member of `record` that some reader takes for one of `names` and others do not; null if none. */
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

/** Whether readers may differ over which words these are: some cut or drop what others keep. */
export function isAmbiguousWord(words: string): boolean {
  return control.test(words) || words !== words.trim() || words.replaceAll(unseen, '') !== words
}
