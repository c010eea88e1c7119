import { ALNUM, DIGIT, KIND, LETTER, latin1 } from './ascii.ts'
import { CardDigits, cardDigitsMax, cardDigitsMin } from './card.ts'
import { hasContext } from './context.ts'
import type { Scan, View } from './view.ts'

/** ` , ` and ` - ` are three; more between two groups, and they are two numbers. */
const gapCharactersMax = 4
/** A longer chain gives its memory back. */
const groupsKeptMax = 1024

/**
 * Groups of digits with little between them, whatever it is. One for the process, because making one
 * for every number would cost more than looking at it; nothing is kept from one call to the next.
 */
const chain: { readonly starts: number[]; readonly ends: number[]; count: number } = {
  starts: [],
  ends: [],
  count: 0,
}

/**
 * Finds card numbers that are written as hardly anyone writes them, and as anyone reads them: with
 * other separators, in other groups, with letters or zeros against them.
 *
 * Almost any sixteen digits are somewhere a card number with a probability of one in sixty, so groups
 * are joined only where they belong together: in the groups of a card, between separators that are
 * all the same, or when there is nothing else in the text.
 */
export function scanDisguisedCards(scan: Scan): void {
  const { bytes, from, to } = scan.view
  let at = from
  while (at < to) {
    while (at < to && !isDigit(bytes, at)) at++
    if (at >= to) return
    at = readChain(scan.view, at)
    let digits = 0
    for (let k = 0; k < chain.count; k++) digits += sizeOf(k)
    if (digits >= cardDigitsMin) judgeChain(scan)
  }
}

const isDigit = (bytes: Uint8Array, at: number): boolean =>
  ((KIND[bytes[at] as number] as number) & DIGIT) !== 0

const sizeOf = (k: number): number => (chain.ends[k] as number) - (chain.starts[k] as number)

/** Reads the chain whose first digit is at `from`; gives where to look for the next one. */
function readChain(view: View, from: number): number {
  const { bytes, to } = view
  if (chain.starts.length > groupsKeptMax) chain.starts.length = chain.ends.length = 0
  chain.count = 0
  let at = from
  for (;;) {
    let end = at
    while (end < to && isDigit(bytes, end)) end++
    // Our own marker keeps four digits, which belong to nothing any more.
    if (bytes[at - 1] === 0x2a && bytes[end] === 0x5d && end - at <= 4) return end
    chain.starts[chain.count] = at
    chain.ends[chain.count++] = end
    const next = afterGap(view, end)
    if (next < 0) return end
    if (isMarkerTail(view, next)) return next
    at = next
  }
}

function isMarkerTail({ bytes, to }: View, at: number): boolean {
  if (bytes[at - 1] !== 0x2a) return false
  let end = at
  while (end < to && end - at <= 4 && isDigit(bytes, end)) end++
  return bytes[end] === 0x5d
}

/** Where the digits go on after a gap that joins them, or -1. */
function afterGap({ bytes, to }: View, end: number): number {
  let characters = 0
  let letters = 0
  for (let i = end; i < to; i++) {
    const byte = bytes[i] as number
    const kind = KIND[byte] as number
    if ((kind & DIGIT) !== 0) return letters === 0 || characters === 1 ? i : -1
    // Of other scripts a letter is not told from a sign, so either may stand alone or in a few.
    if ((byte & 0xc0) === 0x80) continue
    if ((kind & LETTER) !== 0) letters++
    if (++characters > gapCharactersMax) return -1
  }
  return -1
}

const digits = new CardDigits()

function judgeChain(scan: Scan): void {
  for (let i = 0; i < chain.count; i++) {
    const found = findFrom(scan, i)
    if (found === null) continue
    const end = chain.ends[found.last] as number
    scan.found({ dataClass: 'card', detector: 'card', start: found.start, end })
    i = found.last
  }
}

interface Extent {
  readonly start: number
  readonly last: number
}

/** The longest card number that begins with group `i`, zeros before it aside. */
function findFrom(scan: Scan, i: number): Extent | null {
  const { bytes } = scan.view
  const end = chain.ends[i] as number
  let start = chain.starts[i] as number
  while (start < end - 1 && bytes[start] === 0x30) start++
  let found: Extent | null = null
  digits.start()
  for (let j = i; j < chain.count; j++) {
    const from = j === i ? start : (chain.starts[j] as number)
    if (digits.count + (chain.ends[j] as number) - from > cardDigitsMax) break
    for (let k = from; k < (chain.ends[j] as number); k++) digits.add((bytes[k] as number) - 0x30)
    if (digits.count >= 4 && !digits.hasIssuer) break
    if (digits.count < cardDigitsMin || !digits.isCard) continue
    if (!digits.isUsual && !hasContext(scan, start, 'card')) continue
    if (belongsTogether(scan.view, i, j)) found = { start, last: j }
  }
  return found
}

function belongsTogether(view: View, i: number, j: number): boolean {
  if (isFraction(view, i) || isInUuid(view, chain.starts[i] as number)) return false
  if (i === j) return true
  if (isUniform(view, i, j)) return true
  if (isCardLayout(i, j)) return !continues(view, i, j)
  return i === 0 && j === chain.count - 1 && isWholeView(view) && !looksMeasured(view)
}

/** `0.4111…`: every other long decimal would be a card number by chance. */
function isFraction({ bytes, from }: View, i: number): boolean {
  const start = chain.starts[i] as number
  return bytes[start - 1] === 0x2e && start - 2 >= from && isDigit(bytes, start - 2)
}

const uuidBytes = 36
const uuid = /^[\da-f]{8}-[\da-f]{4}-[1-8][\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/i

/** Ids of RFC 9562 hold sixteen digits in a row now and then, and must not change. */
function isInUuid({ bytes, from, to }: View, at: number): boolean {
  const isPart = (i: number): boolean =>
    i >= from &&
    i < to &&
    (bytes[i] === 0x2d || ((KIND[bytes[i] as number] as number) & ALNUM) !== 0)
  let start = at
  while (at - start < uuidBytes && isPart(start - 1)) start--
  if (isPart(start + uuidBytes)) return false
  return uuid.test(latin1(bytes, start, Math.min(to, start + uuidBytes)))
}

/** Whether one separator stands between all the groups, and not beyond them. */
function isUniform(view: View, i: number, j: number): boolean {
  for (let k = i + 2; k <= j; k++) if (!sameGap(view, i + 1, k)) return false
  const goesOn = j + 1 < chain.count && sameGap(view, i + 1, j + 1)
  const cameOn = i > 0 && sameGap(view, i, i + 1)
  return !goesOn && !cameOn
}

/** Whether the gaps before groups `a` and `b` are the same. */
function sameGap({ bytes }: View, a: number, b: number): boolean {
  const startA = chain.ends[a - 1] as number
  const startB = chain.ends[b - 1] as number
  const length = (chain.starts[a] as number) - startA
  if ((chain.starts[b] as number) - startB !== length) return false
  for (let k = 0; k < length; k++) if (bytes[startA + k] !== bytes[startB + k]) return false
  return true
}

/** Groups of four, 4-6-5 and 4-6-4, or digit by digit. */
function isCardLayout(i: number, j: number): boolean {
  let fours = true
  let ones = true
  for (let k = i; k <= j; k++) {
    if (sizeOf(k) !== 1) ones = false
    if (sizeOf(k) !== 4 && (k < j || sizeOf(k) > 4)) fours = false
  }
  return fours || ones || (j - i === 2 && sizeOf(i) === 4 && sizeOf(i + 1) === 6)
}

/** Whether a group of the same kind follows or leads, so that this is a part of something longer. */
function continues(view: View, i: number, j: number): boolean {
  const follows = j + 1 < chain.count && sizeOf(j + 1) === sizeOf(j) && sameGap(view, j, j + 1)
  return follows || (i > 0 && sizeOf(i - 1) === sizeOf(i) && sameGap(view, i, i + 1))
}

/** Whether no letter or other digit is in the text. */
function isWholeView({ bytes, from, to }: View): boolean {
  const first = chain.starts[0] as number
  const last = chain.ends[chain.count - 1] as number
  for (let i = from; i < first; i++)
    if (((KIND[bytes[i] as number] as number) & ALNUM) !== 0) return false
  for (let i = last; i < to; i++)
    if (((KIND[bytes[i] as number] as number) & ALNUM) !== 0) return false
  return true
}

/** Dates with times, and pairs of coordinates: numbers that machines write in groups. */
function looksMeasured({ bytes }: View): boolean {
  let short = 0
  let decimals = 0
  let colons = 0
  for (let k = 0; k < chain.count; k++) {
    if (sizeOf(k) <= 2) short++
    const next = bytes[chain.ends[k] as number]
    if (next === 0x3a) colons++
    if (next === 0x2e && k + 1 < chain.count && sizeOf(k) <= 3 && sizeOf(k + 1) >= 3) decimals++
  }
  return decimals >= 2 || (colons > 0 && short >= 3)
}
