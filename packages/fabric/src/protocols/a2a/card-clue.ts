import { asciiOf } from '@countersign/protocol'

/** Parts of the words of cards: each word that decides on a card holds one. 32 letters in all. */
export const partsOfCards = ['kills', 'capab', 'erface', 'tmode', 'dtrans', 'dcard'] as const

const masks = new Int32Array(0x80)
let starts = 0
let ends = 0
for (const [at, letter] of Array.from(partsOfCards.join(''), (one) => code(one)).entries()) {
  for (const one of [letter, letter - 0x20]) masks[one] = (masks[one] ?? 0) | (1 << at)
}
let from = 0
for (const { length } of partsOfCards) {
  starts |= 1 << from
  from += length
  ends |= 1 << (from - 1)
}

const isAlphanumeric = new Uint8Array(0x80)
for (let i = 0; i < 0x80; i++) isAlphanumeric[i] = /[a-z0-9]/i.test(String.fromCharCode(i)) ? 1 : 0

/**
 * Characters that JSON allows after a backslash, except `u`. Anything else is the escape of a lax
 * reader, and so are `b` and `f` before digits.
 */
const usualEscapes: ReadonlySet<number> = new Set(Array.from('"/bfnrt', code))
const entities = ['amp;', 'bsol;', 'percnt;', 'num;'].map((name) => Array.from(name, code))

/**
 * Reports whether an answer is worth a closer look, which few are: it holds a part of a word of
 * cards, in any case and width, with anything between its letters, or an escape that could hide
 * one. Finds all that `holdsCard` finds, and more: whole runs of letters are read both as
 * themselves and as nothing, since they may be a comment, a tag or a prefix. One pass over the
 * bytes.
 */
export function hasClueOfCard(body: Uint8Array): boolean {
  /** Progress of each part (shift-and), now and at the end of any earlier run. */
  let at = 0
  let sticky = 0
  for (let i = 0; i < body.length; i++) {
    const byte = body[i] as number
    if (byte < 0x80) {
      if (isAlphanumeric[byte] === 1) {
        at = ((at << 1) | starts) & (masks[byte] as number)
        if ((at & ends) !== 0) return true
        continue
      }
      sticky |= at
      at = sticky
      if (byte === 0x5c) {
        while (body[i + 1] === 0x5c) i++
        const next = body[i + 1] ?? 0
        if (!usualEscapes.has(next) || (isHex(next) && isHex(body[i + 2]))) return true
        // One reader has a line end there, another the letter.
        if (isAlphanumeric[next] !== 1) continue
        at = sticky | (((sticky << 1) | starts) & (masks[next] as number))
        i++
      } else if (byte === 0x25) {
        if (hidesLetter(body[i + 1] ?? 0, body[i + 2] ?? 0)) return true
        if (isHex(body[i + 1]) && isHex(body[i + 2])) i += 2
      } else if (byte === 0x26 && (hidesSign(body[i + 1]) || begins(body, i + 1, entities)))
        return true
      else if (byte === 0x60 && body[i + 1] === 0x75 && body[i + 2] === 0x7b) return true
      continue
    }
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2
    const folded = foldedAt(body, i, length)
    if (folded === '%' || folded === '\\' || folded === '&' || folded === '`') return true
    i += length - 1
    if (folded === undefined || folded === '') {
      sticky |= at
      at = sticky
    } else {
      for (let each = 0; each < folded.length; each++) {
        // A mark in it separates two runs as well.
        at = (((at << 1) | starts) & (masks[folded.charCodeAt(each)] ?? 0)) | sticky
        if ((at & ends) !== 0) return true
      }
    }
  }
  return false
}

function foldedAt(body: Uint8Array, at: number, length: number): string | undefined {
  let codePoint = (body[at] as number) & (0x7f >> length)
  for (let i = 1; i < length; i++) codePoint = (codePoint << 6) | ((body[at + i] ?? 0) & 0x3f)
  // Scripts of which no character folds to ASCII, at the price of a few comparisons.
  if (codePoint >= 0x3400 && codePoint < 0xa780) return undefined
  if (codePoint >= 0x2c80 && codePoint < 0x3200) return undefined
  if (codePoint >= 0x300 && codePoint < 0x1d00) return undefined
  return asciiOf(codePoint)
}

/** `%6b` of a form, `%u006b`, a byte of UTF-8, or a percent sign or ampersand of another escape. */
function hidesLetter(first: number, second: number): boolean {
  if ((first | 0x20) === 0x75 || first === 0x25) return true
  if (!isHex(first) || !isHex(second)) return false
  if (first >= 0x34) return true
  return first === 0x32 && (second === 0x33 || second === 0x35 || second === 0x36)
}

/** `&#107;`, or another escape of the sign behind an ampersand. */
function hidesSign(sign: number | undefined): boolean {
  return sign === 0x23 || sign === 0x25 || sign === 0x5c
}

function isHex(unit: number | undefined): boolean {
  if (unit === undefined) return false
  return (unit >= 0x30 && unit <= 0x39) || ((unit | 0x20) >= 0x61 && (unit | 0x20) <= 0x66)
}

function begins(body: Uint8Array, at: number, words: readonly (readonly number[])[]): boolean {
  return words.some((word) => word.every((one, i) => body[at + i] === one))
}

function code(letter: string): number {
  return letter.charCodeAt(0)
}
