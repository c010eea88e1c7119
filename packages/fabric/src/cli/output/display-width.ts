import { legible } from '@countersign/protocol'

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' })

/**
 * Wide and full-width characters in whole blocks (UAX 11), and what any terminal draws as a picture
 * (UTS 51): the tables of terminals differ, and a column too many only breaks a row early.
 */
const wide =
  /[\u1100-\u115f\u2329\u232a\u2630-\u2637\u268a-\u268f\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{16fe0}-\u{18dff}\u{1aff0}-\u{1b2ff}\u{1d300}-\u{1d37f}\u{1f000}-\u{1faff}\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}|\p{Extended_Pictographic}/u

/**
 * Marks that every terminal draws over the letter before them. Spacing marks, jamo of vowels and
 * marks that came with Unicode 10 or later take a column in some, and U+FE0F makes what it follows
 * wide; astral ones are all counted so.
 */
const drawnOver =
  /(?![\u07fd\u0897-\u089f\u08ca-\u08d3\u09fe\u0afa-\u0aff\u0b55\u0c04\u0c3c\u0d00\u0d3b\u0d3c\u0d81\u0eba\u0ece\ua82c\ua8ff\u{10000}-\u{10ffff}]|\ufe0f|[\u1abf-\u1aff]|[\u1df6-\u1dfa])[\p{Mn}\p{Me}]/u

const plain = /^[ -~]*$/

/**
 * The most columns in which a terminal draws `text`, which must be `legible`: control characters
 * have no width. Counted by code points, which many terminals draw side by side within one cluster.
 */
export function displayWidth(text: string): number {
  if (plain.test(text)) return text.length
  let width = 0
  for (const character of text) {
    if (!drawnOver.test(character)) width += wide.test(character) ? 2 : 1
  }
  return width
}

interface Piece {
  readonly text: string
  readonly width: number
}

/** Clusters, which are broken apart only where one is wider than `columns`. */
function* piecesOf(text: string, columns: number): Iterable<Piece> {
  const parts = plain.test(text) ? text : clustersOf(text)
  for (const part of parts) {
    const width = displayWidth(part)
    if (width <= columns) yield { text: part, width }
    else for (const each of part) yield { text: each, width: displayWidth(each) }
  }
}

function* clustersOf(text: string): Iterable<string> {
  for (const { segment } of graphemes.segment(text)) yield segment
}

/** `text` in at most `columns`, with an ellipsis in place of what is cut. */
export function fitText(text: string, columns: number): string {
  if (columns <= 0) return ''
  if (displayWidth(text) <= columns) return text
  let kept = ''
  let width = 1
  for (const piece of piecesOf(text, columns)) {
    width += piece.width
    if (width > columns) break
    kept += piece.text
  }
  return `${kept.trimEnd()}…`
}

/** Colours are ours alone: legible text has no escape character. */
const paints = new RegExp(`(${'\u001b'}\\[[\\d;]*m)`)
const unpainted = (line: string): string =>
  line
    .split(paints)
    .filter((_, i) => i % 2 === 0)
    .join('')

/**
 * `line` in rows of at most `columns`, each but the first behind `indent`. A row ends at a blank,
 * and within a word where the word is longer than a row.
 */
export function rowsOfLine(line: string, columns: number, indent = ''): readonly string[] {
  if (line.length * 2 <= columns || displayWidth(unpainted(line)) <= columns) return [line]
  const rows: string[] = []
  let row = ''
  let width = 0
  /** After the last blank of the row, where it is best broken. */
  let blank: { readonly at: number; readonly width: number } | null = null
  let isBegun = false
  const end = (added: number): void => {
    const isWithin = blank !== null && indent.length + width - blank.width + added <= columns
    const { at, width: until } = isWithin && blank !== null ? blank : { at: row.length, width }
    rows.push(row.slice(0, at).trimEnd())
    row = indent + row.slice(at)
    width = indent.length + width - until
    blank = null
    isBegun = width > indent.length
  }
  for (const part of line.split(paints)) {
    if (paints.test(part)) {
      row += part
      continue
    }
    for (const piece of piecesOf(part, columns - indent.length)) {
      if (width + piece.width > columns) end(piece.width)
      const isBlank = piece.text === ' '
      if (isBlank && !isBegun && rows.length > 0) continue
      row += piece.text
      width += piece.width
      if (isBlank && isBegun) blank = { at: row.length, width }
      if (!isBlank) isBegun = true
    }
  }
  return [...rows, row]
}

const indent = '  '
const columnsMin = 8

/**
 * Lines of ours on a terminal: one that is too long for it goes on below, further in than it began.
 * The terminal would go on at its edge, where a text of others in the line would read as ours.
 */
export function formatLines(text: string, width: number): string {
  if (!Number.isFinite(width)) return text
  const columns = Math.max(width, columnsMin)
  return text
    .split('\n')
    .flatMap((line) => {
      const begins = Math.min(line.search(/[^ ]|$/), Math.floor(columns / 2) - indent.length)
      return rowsOfLine(line, columns, ' '.repeat(begins) + indent)
    })
    .join('\n')
}

/** Text of others below a line of ours: legible, and every row of the terminal is indented. */
export function formatIndented(text: string, width: number): string {
  const lines = text.split('\n').map((line) => indent + legible(line))
  return formatLines(lines.join('\n'), width)
}

export { legible }
