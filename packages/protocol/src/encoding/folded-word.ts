import { asciiOf } from './fold-character.ts'

/** Control characters and what shows nothing: zero-width marks, direction controls, tags. */
const unseen = /[\p{Cc}\p{Cf}\p{Variation_Selector}]/gu
const printable = /^[\x20-\x7e]*$/

/** In one case and one width, without characters that show nothing. */
export function foldedWord(word: string): string {
  if (printable.test(word)) return word.toLowerCase()
  let folded = ''
  for (const character of withoutUnseen(word)) {
    folded += asciiOf(character.codePointAt(0) ?? 0) ?? character.toLowerCase()
  }
  return folded
}

export function withoutUnseen(word: string): string {
  return word.replaceAll(unseen, '')
}
