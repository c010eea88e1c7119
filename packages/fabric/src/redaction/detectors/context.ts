import { KIND, LETTER, LOWER, UPPER } from '../text/ascii.ts'
import type { ContextIndex, ContextKind, Scan, View } from '../text/view.ts'
import { createKeywordMatcher } from './keyword-matcher.ts'
import { isMarker } from './operators.ts'

/**
 * Distance at which a word such as "phone" before a number still applies to it: half a line of
 * prose.
 */
const contextBytes = 40

/**
 * Words that identify a bare number. Compared as whole words: as substrings, "hotel" would be a
 * telephone and "company" a card number.
 */
const VOCABULARY = {
  card: 'card cards cardnumber cardno ccnumber ccnum cc pan visa mastercard amex maestro discover unionpay jcb diners credit debit',
  ssn: 'ssn ssns socialsecurity social sin taxpayer',
  phone:
    'phone phones phonenumber tel telephone telefon telefono mobile cell cellphone fax whatsapp sms call dial ring hotline landline',
} as const satisfies Readonly<Record<ContextKind, string>>

const ENTRIES = Object.entries(VOCABULARY).flatMap(([kind, list]) =>
  list.split(' ').map((word) => ({ kind: kind as ContextKind, word })),
)
const matcher = createKeywordMatcher(
  ENTRIES.map(({ word }) => word),
  { caseSensitive: false },
)

export const NO_CONTEXT: ContextIndex = { card: [], ssn: [], phone: [] }

/** One pass over the view; made once per view, and only when a number asks for it. */
export function indexContext(view: View): ContextIndex {
  const index: Record<ContextKind, number[]> = { card: [], ssn: [], phone: [] }
  const { bytes, to } = view
  const { next, classes, outputsFrom, outputs, width } = matcher
  let state = 0
  for (let i = view.from; i < to; i++) {
    state = next[state + (classes[bytes[i] as number] as number)] as number
    if (state < outputsFrom) continue
    for (const keyword of outputs[(state - outputsFrom) / width] ?? []) {
      const entry = ENTRIES[keyword]
      if (entry !== undefined && isWord(view, i + 1 - entry.word.length, i + 1)) {
        index[entry.kind].push(i + 1)
      }
    }
  }
  return index
}

/**
 * Letters on neither side, save for a camel hump: `homePhone` holds the word, `microphones` does
 * not.
 */
function isWord(view: View, start: number, end: number): boolean {
  const { bytes, from, to } = view
  const kind = (at: number): number =>
    at < from || at >= to ? 0 : (KIND[bytes[at] as number] as number)
  const hump = (left: number, right: number): boolean =>
    (left & LOWER) !== 0 && (right & UPPER) !== 0
  // A word in the fabric's own marker is not context for the text after it.
  if (start > from && isMarker(view, start - 1)) return false
  const opens = (kind(start - 1) & LETTER) === 0 || hump(kind(start - 1), kind(start))
  const closes = (kind(end) & LETTER) === 0 || hump(kind(end - 1), kind(end))
  return opens && closes
}

/** Reports whether the field's name, or the text shortly before `at`, indicates `kind`. */
export function hasContext(scan: Scan, at: number, kind: ContextKind): boolean {
  if (scan.fieldContext()[kind].length > 0) return true
  const ends = scan.context()[kind]
  if (ends.length === 0) return false
  let low = 0
  let high = ends.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((ends[middle] as number) <= at) low = middle + 1
    else high = middle
  }
  const nearest = ends[low - 1]
  return nearest !== undefined && at - nearest <= contextBytes
}
