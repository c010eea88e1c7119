/** One figure. `baseline` and `ratio` are null where nothing was there to compare with. */
export interface Row {
  readonly name: string
  readonly value: number
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

function round(value: number): number {
  return value >= 100 ? Math.round(value) : Math.round(value * 100) / 100
}
