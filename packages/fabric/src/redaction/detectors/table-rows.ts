import { STEPS } from '../inspection-work.ts'
import { excerptOf } from '../text/ascii.ts'
import type { Span } from '../text/view.ts'
import { looksMade } from './secret-values.ts'
import type { Beside } from './value-beside.ts'

const rowBytesMax = 512
const opening = /(?:^|\n)[ \t]*(?:\|[ \t]*)?(?:\\*["'`])?$/
const DIVIDER = /^(?:\\*["'`])?[ \t]*([,;|\t])/

/**
 * The value of a name that is the first of the two cells of its row: `password,…` in a list of such
 * rows, or where the other cell was made to be a secret. Null where the name stands in no such row.
 */
export function besideInRow(place: Beside, name: Span, before: string): readonly Span[] | null {
  const { bytes, from, to } = place.view
  if (!opening.test(before) || (before === '' && name.start > from)) return null
  const last = Math.min(to, name.end + rowBytesMax)
  const after = excerptOf(bytes, name.end, last)
  const divider = DIVIDER.exec(after)
  if (divider === null) return null
  place.spend(STEPS.valueByte * 2 * rowBytesMax)
  const sign = divider[1] ?? ''
  const [line = '', next = ''] = after.slice(divider[0].length).split('\n', 2)
  const cell = withoutEnds(line, sign)
  // A longer cell is a text.
  if (cell.text === '' || cell.text.includes(sign)) return null
  const start = name.end + divider[0].length + cell.from
  const value = { start, end: start + cell.text.length }
  const isTight = sign === '\t' || sign === '|' || !/^\s/.test(line)
  const above = excerptOf(bytes, Math.max(from, name.start - rowBytesMax), name.start).split('\n')
  const isListed = isTight && (isPair(next, sign) || isPair(above.at(-2) ?? '', sign))
  if (!isListed && !looksMade(cell.text)) return null
  return place.accepts(value) ? [value] : null
}

function isPair(line: string, sign: string): boolean {
  const cells = withoutEnds(line, sign).text.split(sign)
  return cells.length === 2 && cells.every((each) => each.trim() !== '')
}

/** Without blanks, quotes and signs of the row at its ends. */
function withoutEnds(line: string, sign: string): { text: string; from: number } {
  const isEnd = (at: number): boolean =>
    /[\s"'`\\]/.test(line.charAt(at)) || (sign === '|' && line.charAt(at) === '|')
  let from = 0
  let to = line.length
  while (from < to && isEnd(from)) from++
  while (to > from && isEnd(to - 1)) to--
  return { text: line.slice(from, to), from }
}
