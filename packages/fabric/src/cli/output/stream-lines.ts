import { displayWidth, fitText } from './display-width.ts'
import type { Paint } from './paint.ts'
import { type Cell, type Column, fitColumns, shown, styleOf } from './table.ts'

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

export interface StreamLayout {
  readonly columns: readonly Column[]
  /** The width of each column on a terminal that is wide enough. */
  readonly widths: readonly number[]
  /** Terminal columns; infinite for a pipe. */
  readonly width: number
  readonly paint: Paint
}

/** `formatStreamLine` of the columns that the terminal has room for, at the widths that fit it. */
export function formatFittedLine(
  cells: readonly Cell[],
  { columns, widths, width, paint }: StreamLayout,
): string {
  const fitted = fitColumns(columns, widths, width)
  const line = fitted.kept.map((i) => cells[i] ?? '')
  return formatStreamLine(line, { widths: fitted.widths.slice(0, -1), paint })
}
