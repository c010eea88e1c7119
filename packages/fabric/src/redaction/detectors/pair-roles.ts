import { ownText } from '../text/own-text.ts'
import { HOLDING, NAMING, TELLING } from './member-roles.ts'

/** One of a pair: what holds a name, what holds its value, or what holds it or a text about it. */
export type PairKind = 'naming' | 'holding' | 'telling'

export interface PairRole {
  readonly kind: PairKind
  /**
   * The part that the two keys of a pair have in common: `items[0]`, `Parameter`, the number of
   * `name1`.
   */
  readonly frame: string
}

const keyLengthMax = 96
const WORD = /[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+/g

function kindOf(word: string): PairKind | null {
  if (NAMING.has(word)) return 'naming'
  if (HOLDING.has(word)) return 'holding'
  return TELLING.has(word) ? 'telling' : null
}

/**
 * Returns the role of a key in a pair: the same for members, fields of forms, parameters,
 * attributes, elements and lines. After the word that identifies the role, only numbers may follow.
 */
export function pairRole(key: string): PairRole | null {
  if (key.length > keyLengthMax) return null
  const found = known.get(key)
  if (found !== undefined) return found
  const role = judgeKey(key)
  // Filled by any client: restarted, so that none pays for the keys of others.
  if (known.size >= knownMax) known.clear()
  known.set(ownText(key), role)
  return role
}

/** Keys that messages repeat. */
const known = new Map<string, PairRole | null>()
const knownMax = 4_096

function judgeKey(key: string): PairRole | null {
  const whole = kindOf(key.toLowerCase().replaceAll(/[^a-z0-9]/g, ''))
  if (whole !== null) return { kind: whole, frame: '' }
  const words = key.match(WORD) ?? []
  let at = words.length - 1
  while (at >= 0 && /^\d/.test(words[at] ?? '')) at--
  const kind = kindOf((words[at] ?? '').toLowerCase())
  if (kind === null) return words.length === 1 ? joinedRole(words[0] ?? '') : null
  const frame = words.filter((_, i) => i !== at).join('.')
  return { kind, frame: frame.toLowerCase() }
}

/** `paramname` and `paramvalue`: one word, that ends as one of the others. */
function joinedRole(word: string): PairRole | null {
  const ending = /(?:name|key|values?|val)$/i.exec(word)
  const kind = ending === null ? null : kindOf(ending[0].toLowerCase())
  if (ending === null || kind === null || ending.index < 2) return null
  return { kind, frame: word.slice(0, ending.index).toLowerCase() }
}

/** A key among those of one frame. */
export interface RowKey extends PairRole {
  readonly key: string
}

/**
 * The places of the values that belong to the name at `at`, in a row of keys of one frame: those up
 * to where the same key comes again, and those before it where no other name has them. Of a row
 * that can be read either way, both sides count.
 */
export function partnersOf(row: readonly RowKey[], at: number): readonly number[] {
  const own = row[at]?.key
  const isValue = (i: number): boolean => row[i]?.kind !== 'naming'
  const after: number[] = []
  for (let i = at + 1; i < row.length && (isValue(i) || row[i]?.key !== own); i++)
    if (isValue(i)) after.push(i)
  const before: number[] = []
  let i = at - 1
  for (; i >= 0 && (isValue(i) || row[i]?.key !== own); i--) if (isValue(i)) before.push(i)
  const isClaimed = i >= 0 && after.length > 0
  return isClaimed ? after : [...before, ...after]
}
