import { displayWidth, fitText } from './display-width.ts'
import type { Paint } from './paint.ts'
import { type Cell, shown, styleOf } from './table.ts'

/**
 * One line of a stream: fixed widths, since the content to come is not known; the last cell is
 * whole.
 */
export function formatStreamLine(
  cells: readonly Cell[],
  { widths, paint }: { readonly widths: readonly number[]; readonly paint: Paint },
): string {
  const padded = cells.map((cell, i) => {
    const text = shown(cell)
    const width = widths[i]
    const fitted = width === undefined ? text : fitText(text, width)
    const blank = ' '.repeat(Math.max(0, (width ?? 0) - displayWidth(fitted)))
    const style = styleOf(cell)
    const painted = style === null ? fitted : paint(style, fitted)
    return typeof cell === 'number' ? blank + painted : painted + blank
  })
  return padded.join('  ')
}
