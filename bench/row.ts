/** One figure. `baseline` and `ratio` are null where nothing was there to compare with. */
export interface Row {
  readonly name: string
  /** Null if the program is not installed; the note then names its installation. */
  readonly value: number | null
  readonly unit: string
  readonly baseline: string | null
  readonly ratio: number | null
  /** The conditions under which the figure was measured, for the table. */
  readonly note: string
}

export function row(
  name: string,
  value: number,
  unit: string,
  rest: { baseline?: string; ratio?: number; note?: string } = {},
): Row {
  const { baseline = null, ratio = null, note = '' } = rest
  return {
    name,
    value: round(value),
    unit,
    baseline,
    ratio: ratio === null ? null : round(ratio),
    note,
  }
}

/** The row of a peer that is missing: a comparison that was left out is visible. */
export function missingRow(name: string, howToInstall: string): Row {
  const note = `not installed: ${howToInstall}`
  return { name, value: null, unit: '', baseline: null, ratio: null, note }
}

/** The lines of a table, one for each row. */
export function tableOf(rows: readonly Row[]): readonly string[] {
  const cells = rows.map(({ name, value, unit, baseline, ratio, note }) => [
    name,
    value === null ? '–' : value.toLocaleString('en'),
    unit,
    ratio === null ? '' : `${ratio}× ${baseline ?? ''}`,
    note,
  ])
  const widths = [0, 1, 2, 3].map((at) =>
    Math.max(0, ...cells.map((cell) => cell[at]?.length ?? 0)),
  )
  return cells.map((cell) => {
    const padded = cell.map((text, at) =>
      at === 1 ? text.padStart(widths[at] ?? 0) : text.padEnd(widths[at] ?? 0),
    )
    return padded.join('  ').trimEnd()
  })
}

function round(value: number): number {
  return value >= 100 ? Math.round(value) : Math.round(value * 100) / 100
}
