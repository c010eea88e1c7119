import { legible, legibleValue } from '@countersign/protocol'
import { displayWidth, fitText, rowsOfLine } from './display-width.ts'
import { type Paint, type Style } from './paint.ts'

export interface Column {
  readonly title: string
  /** Numbers stand under one another by their last digit. */
  readonly align?: 'left' | 'right'
  /** Never cut: for what people copy, such as ids. */
  readonly whole?: boolean
  /** Left out where the terminal is too narrow for all columns. */
  readonly spare?: boolean
}

export type Cell =
  | string
  | number
  | { readonly text: string; readonly style: Style }
  /** Our own words, with every value among them quoted already. */
  | { readonly phrase: string }

export interface Table {
  readonly columns: readonly Column[]
  readonly rows: readonly (readonly Cell[])[]
}

export interface TableLayout {
  /** Terminal columns; infinite for a pipe, which is not read by eye. */
  readonly width: number
  readonly paint: Paint
}

const gap = '  '
/** A column that is cut further is hard to read, so that spare ones make room for it. */
const columnWidthReadable = 10
/**
 * A narrower column is not readable any more; below it a table is wider than the terminal instead.
 */
const columnWidthMin = 6

/** Title line and rows. Cells are made legible, and the widest columns are cut until all fits. */
export function formatTable(table: Table, { width, paint }: TableLayout): string {
  const { kept, widths } = fitColumns(table.columns, naturalWidths(table), width)
  const columns = kept.map((i) => table.columns[i] ?? { title: '' })
  const rows = table.rows.map((row) => kept.map((i) => row[i] ?? ''))
  const texts = rows.map((row) => row.map(shown))
  const format = (cells: readonly string[], styleOf: (i: number) => Style | null): string => {
    const last = cells.length - 1
    const padded = cells.map((text, i) => {
      const column = columns[i] ?? { title: '' }
      const fitted = column.whole === true ? text : fitText(text, widths[i] ?? 0)
      const style = styleOf(i)
      const painted = style === null ? fitted : paint(style, fitted)
      const blank = ' '.repeat(Math.max(0, (widths[i] ?? 0) - displayWidth(fitted)))
      if (column.align === 'right') return blank + painted
      // Blanks at the end of a line would only make it wrap.
      return i === last ? painted : painted + blank
    })
    return padded.join(gap)
  }
  const head = format(
    columns.map(({ title }) => title),
    () => 'bold',
  )
  const body = texts.map((cells, r) => format(cells, (i) => styleOf(rows[r]?.[i])))
  return [head, ...(body.length === 0 ? [paint('dim', '(none)')] : body)].join('\n')
}

function naturalWidths({ columns, rows }: Table): readonly number[] {
  return columns.map(({ title }, i) =>
    Math.max(displayWidth(title), ...rows.map((row) => displayWidth(shown(row[i] ?? '')))),
  )
}

/** The columns that a terminal has room for, by their indexes, and the width of each. */
export interface FittedColumns {
  readonly kept: readonly number[]
  readonly widths: readonly number[]
}

/** Leaves spare columns out and cuts others, until columns of the `natural` widths fit `width`. */
export function fitColumns(
  columns: readonly Column[],
  natural: readonly number[],
  width: number,
): FittedColumns {
  const kept = withoutSpare(columns, natural, width)
  const widths = shrink(
    kept.map((i) => natural[i] ?? 0),
    kept.map((i) => columns[i] ?? { title: '' }),
    width - gap.length * (kept.length - 1),
  )
  return { kept, widths }
}

/** Leaves spare columns out, first ones first, until a readable form of the rest fits. */
function withoutSpare(
  columns: readonly Column[],
  natural: readonly number[],
  width: number,
): readonly number[] {
  const kept = [...columns.keys()]
  const readableWidth = (i: number): number => {
    const whole = natural[i] ?? 0
    return columns[i]?.whole === true ? whole : Math.min(whole, columnWidthReadable)
  }
  for (;;) {
    const readable = kept.reduce((sum, i) => sum + gap.length + readableWidth(i), -gap.length)
    const spare = kept.findIndex((i) => columns[i]?.spare === true)
    if (readable <= width || spare === -1) return kept
    kept.splice(spare, 1)
  }
}

/** On a pipe as well, where no terminal bounds a line. */
const cellColumnsMax = 512

/** A cell as it is shown: legible, quoted where it could pass for several cells, and bounded. */
export function shown(cell: Cell): string {
  const isPhrase = typeof cell === 'object' && 'phrase' in cell
  const text = isPhrase ? legible(cell.phrase) : legibleValue(textOf(cell))
  return fitText(text, cellColumnsMax)
}

function textOf(cell: Exclude<Cell, { readonly phrase: string }>): string {
  return typeof cell === 'object' ? cell.text : String(cell)
}

export function styleOf(cell: Cell | undefined): Style | null {
  return typeof cell === 'object' && 'style' in cell ? cell.style : null
}

/** Takes from the widest column first, so that short ones stay readable for longest. */
function shrink(
  natural: readonly number[],
  columns: readonly Column[],
  available: number,
): readonly number[] {
  const widths = [...natural]
  let excess = widths.reduce((sum, width) => sum + width, 0) - available
  while (excess > 0) {
    let widest = -1
    for (const [i, width] of widths.entries()) {
      if (columns[i]?.whole === true || width <= columnWidthMin) continue
      if (widest === -1 || width > (widths[widest] ?? 0)) widest = i
    }
    if (widest === -1) return widths
    widths[widest] = (widths[widest] ?? 0) - 1
    excess -= 1
  }
  return widths
}

/** `name  value` lines under one another, for one thing with several facts. */
export function formatFacts(
  facts: readonly (readonly [name: string, value: Cell])[],
  { width, paint }: TableLayout,
): string {
  const nameWidth = Math.max(0, ...facts.map(([name]) => displayWidth(name)))
  return facts
    .map(([name, value]) => {
      const label = name + ' '.repeat(nameWidth - displayWidth(name))
      const text = fitText(shown(value), Math.max(width - nameWidth - gap.length, 20))
      const style = styleOf(value)
      return `${paint('dim', label)}${gap}${style === null ? text : paint(style, text)}`
    })
    .join('\n')
}

/** As `formatFacts`, with long values broken into lines under one another instead of cut. */
export function formatParagraphs(
  facts: readonly (readonly [name: string, value: Cell])[],
  { width, paint }: TableLayout,
): string {
  const nameWidth = Math.max(0, ...facts.map(([name]) => displayWidth(name)))
  const columns = Math.max(width - nameWidth - gap.length, 20)
  return facts
    .flatMap(([name, value]) => {
      const style = styleOf(value)
      return rowsOfLine(shown(value), columns).map((line, i) => {
        const label = paint('dim', (i === 0 ? name : '').padEnd(nameWidth))
        return `${label}${gap}${style === null ? line : paint(style, line)}`
      })
    })
    .join('\n')
}
