import { legible } from '@countersign/protocol'

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' })

/** East Asian wide and full-width ranges, and what terminals draw as emoji (UAX 11). */
const wide =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]/u

/** Terminal columns that `text` fills. It must be `legible`: control characters have no width. */
export function displayWidth(text: string): number {
  let width = 0
  for (const { segment } of graphemes.segment(text)) width += segmentWidth(segment)
  return width
}

/** `text` in at most `columns`, with an ellipsis in place of what is cut. */
export function fitText(text: string, columns: number): string {
  if (columns <= 0) return ''
  if (displayWidth(text) <= columns) return text
  let kept = ''
  let width = 1
  for (const { segment } of graphemes.segment(text)) {
    width += segmentWidth(segment)
    if (width > columns) break
    kept += segment
  }
  return `${kept.trimEnd()}…`
}

/** `text` in rows of at most `columns`, broken where a terminal would break it. */
export function rowsOfText(text: string, columns: number): readonly string[] {
  if (text.length * 2 <= columns) return [text]
  const rows: string[] = []
  let row = ''
  let width = 0
  for (const { segment } of graphemes.segment(text)) {
    const added = segmentWidth(segment)
    if (width + added > columns && row !== '') {
      rows.push(row)
      row = ''
      width = 0
    }
    row += segment
    width += added
  }
  return [...rows, row]
}

const indent = '  '
const columnsMin = 8

/**
 * Text of others below a line of ours: legible, with every row of the terminal indented, so that none
 * of its lines reads as one of ours, whether it ends them or makes them too long.
 */
export function formatIndented(text: string, width: number): string {
  const columns = Math.max(width - indent.length, columnsMin)
  return text
    .split('\n')
    .flatMap((line) => rowsOfText(legible(line), columns))
    .map((row) => indent + row)
    .join('\n')
}

function segmentWidth(segment: string): number {
  if (/^\p{M}/u.test(segment)) return 0
  return wide.test(segment) ? 2 : 1
}

export { legible }
