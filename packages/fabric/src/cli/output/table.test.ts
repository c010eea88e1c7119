import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { displayWidth } from './display-width.ts'
import { colourPaint, plainPaint } from './paint.ts'
import { formatFacts, formatTable, type Table } from './table.ts'

const layout = (width: number) => ({ width, paint: plainPaint })
const table: Table = {
  columns: [{ title: 'name' }, { title: 'size', align: 'right' }, { title: 'id', whole: true }],
  rows: [
    ['planner', 7, 'exc_0197b0d2'],
    ['an-agent-with-a-long-name', 12345, 'exc_0197b0d3'],
  ],
}

describe('a table', () => {
  test('stands in columns, with numbers aligned by their last digit', () => {
    expect(formatTable(table, layout(Number.POSITIVE_INFINITY)).split('\n')).toEqual([
      'name                        size  id',
      'planner                        7  exc_0197b0d2',
      'an-agent-with-a-long-name  12345  exc_0197b0d3',
    ])
  })

  test('is cut to the terminal, and never in a column that has to stay whole', () => {
    expect(formatTable(table, layout(36)).split('\n')).toEqual([
      'name              size  id',
      'planner              7  exc_0197b0d2',
      'an-agent-with-…  12345  exc_0197b0d3',
    ])
  })

  test('leaves spare columns out where the others could not be read', () => {
    const wide: Table = {
      columns: [{ title: 'index', spare: true }, { title: 'who' }, { title: 'id', whole: true }],
      rows: [[123, 'planner', 'exc_0197b0d2']],
    }
    expect(formatTable(wide, layout(28)).split('\n')[1]).toBe('123    planner  exc_0197b0d2')
    expect(formatTable(wide, layout(27)).split('\n')[1]).toBe('planner  exc_0197b0d2')
  })

  test('without rows shows that there are none', () => {
    expect(formatTable({ columns: [{ title: 'who' }], rows: [] }, layout(80))).toBe('who\n(none)')
  })

  test('gives a value no way to write outside its cell', () => {
    const lines = formatTable(
      { columns: [{ title: 'who' }], rows: [['\u001b[2Jadmin\nroot\u202etxt']] },
      layout(80),
    ).split('\n')
    expect(lines).toEqual(['who', String.raw`"\u{1b}[2Jadmin\u{a}root\u{202e}txt"`])
  })

  test('shows no value that could pass for several cells, or for another value', () => {
    const blank = '   '
    const rows = [
      [`pay${blank}bank${blank}delivered`, 'x'],
      [' pay', 'x'],
      ['pay ', 'x'],
      ['pay\u00a0', 'x'],
      ['pay\u3164', 'x'],
      [String.raw`pay\u{a0}`, 'x'],
      ['"pay "', 'x'],
    ]
    const columns = [{ title: 'operation' }, { title: 'result' }]
    const [, ...lines] = formatTable({ columns, rows }, layout(80)).split('\n')
    expect(lines.every((line) => line.split(/ {2,}/).length === 2)).toBe(true)
    expect(new Set(lines).size).toBe(rows.length)
  })

  test('colours a cell without counting the colour as width', () => {
    const coloured = {
      columns: [{ title: 'a' }, { title: 'b' }],
      rows: [[{ text: 'x', style: 'red' as const }, 'y']],
    }
    const [, row] = formatTable(coloured, { width: 80, paint: colourPaint }).split('\n')
    expect(row).toBe('\u001b[31mx\u001b[39m  y')
  })

  test('of any content fits any terminal that can hold its narrowest form', () => {
    const cell = fc.string({ unit: 'grapheme', maxLength: 40 })
    const rows = fc.array(fc.tuple(cell, cell, cell), { maxLength: 5 })
    fc.assert(
      fc.property(rows, fc.integer({ min: 22, max: 120 }), (content, width) => {
        const text = formatTable(
          { columns: [{ title: 'a' }, { title: 'b' }, { title: 'c' }], rows: content },
          layout(width),
        )
        const lines = text.split('\n')
        expect(lines).toHaveLength(Math.max(content.length, 1) + 1)
        for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(width)
      }),
    )
  })
})

test('facts stand under one another and are cut to the terminal', () => {
  const facts = [
    ['name', 'planner'],
    ['because', 'a reason that is much too long for this line'],
  ] as const
  expect(formatFacts(facts, layout(36)).split('\n')).toEqual([
    'name     planner',
    'because  a reason that is much too…',
  ])
})
