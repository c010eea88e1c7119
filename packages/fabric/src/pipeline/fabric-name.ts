import { asciiOf } from '@countersign/protocol'

const reserved = 'countersign-'
/** No name or id needs as many characters that show nothing before its first one that does. */
const unseenMax = 256
const unseen = /[\p{Cc}\p{Cf}\p{Z}\p{M}]/u
/** Dashes of any kind, and what stands in for one in other spellings of field names. */
const dash = /[\p{Pd}\u2212_]/u

/**
 * Reports whether a name or id is one that only the fabric uses, to mark its own events. Compared
 * as the laxest reader might: with compatibility forms, in any case, and without invisible or blank
 * characters. Characters are compared one by one, up to the first that decides: a receiver may send
 * a megabyte, and `normalize` takes quadratic time for some input.
 */
export function isFabricName(text: string): boolean {
  let matched = 0
  let skipped = 0
  for (const character of text) {
    if (unseen.test(character)) {
      if (++skipped > unseenMax) return true
      continue
    }
    const codePoint = character.codePointAt(0) ?? 0
    const shown = dash.test(character) ? '-' : (asciiOf(codePoint) ?? character.toLowerCase())
    if (!reserved.startsWith(shown, matched) && !shown.startsWith(reserved.slice(matched))) {
      return false
    }
    matched += shown.length
    if (matched >= reserved.length) return true
  }
  return false
}
