import type { EntryView } from '@countersign/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ENTRY_COLUMNS, entryRow, formatEntry, WATCH_WIDTHS } from '../entry-view.ts'
import { displayWidth, formatLines } from './display-width.ts'
import { plainPaint } from './paint.ts'
import { formatFittedLine } from './stream-lines.ts'

const exchange = 'exc_a_00000000000070008000000000000000'

function entryOf(caller: string, operation: string): EntryView {
  return {
    ...{ kind: 'intent', exchange, index: 1_234_567, at: 0, caller, principal: caller },
    facts: { receiver: caller, operation, transport: 'gateway' },
    ...{ object: null, reason: null, changedBy: null, producer: caller, ended: null },
  }
}

function lineOf(entry: EntryView, width: number): string {
  const layout = { columns: ENTRY_COLUMNS, widths: WATCH_WIDTHS, width, paint: plainPaint }
  return formatFittedLine(entryRow(entry), layout)
}

describe('an entry of the ledger in a stream', () => {
  test('has every column where there is room for them, as on a pipe', () => {
    const line = lineOf(entryOf('planner', 'tools/call'), Number.POSITIVE_INFINITY)
    expect(line.split(/ {2,}/)).toEqual([
      expect.stringMatching(/^12345…$/),
      expect.stringMatching(/^\d\d:\d\d:\d\d$/),
      ...['intent', 'gateway', 'planner', 'planner', 'tools/call', 'permitted', 'planner'],
      exchange,
    ])
  })

  test('leaves spare columns out on a terminal of 80 columns', () => {
    const line = lineOf(entryOf('planner', 'tools/call'), 80)
    expect(line.split(/ {2,}/)).toEqual([
      ...['plann…', 'plann…', 'tools…', 'permit…', 'planner'],
      exchange,
    ])
  })

  test('of any content fits 80 columns, with its exchange whole', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 60 })
    fc.assert(
      fc.property(text, text, fc.integer({ min: 80, max: 200 }), (caller, operation, width) => {
        const line = lineOf(entryOf(caller, operation), width)
        expect(displayWidth(line)).toBeLessThanOrEqual(width)
        expect(line.endsWith(exchange)).toBe(true)
      }),
    )
  })

  test('is two lines on a terminal without room for the columns, with nothing cut', () => {
    const caller = 'a-planner-with-a-rather-long-name'
    const entry = entryOf(caller, 'tools/call')
    for (const width of [80, 100, 125]) {
      const [head = '', below = ''] = formatEntry(entry, { width, paint: plainPaint }).split('\n')
      expect(head).toMatch(/^\d\d:\d\d:\d\d {2}exc_a_\d{32} {2}permitted$/)
      expect(below).toBe(`  ${caller} → ${caller}  tools/call  recorded by ${caller}`)
    }
    expect(formatEntry(entry, { width: 126, paint: plainPaint })).not.toContain('\n')
  })

  test('of any content leaves the first line to us, and every line within the terminal', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 60 })
    fc.assert(
      fc.property(text, text, fc.integer({ min: 60, max: 125 }), (caller, operation, width) => {
        const entry = formatEntry(entryOf(caller, operation), { width, paint: plainPaint })
        const [head = '', ...rest] = formatLines(entry, width).split('\n')
        expect(head.slice(10)).toBe(`${exchange}  permitted`)
        for (const line of rest) {
          expect(line.startsWith('  ')).toBe(true)
          expect(displayWidth(line)).toBeLessThanOrEqual(width)
        }
      }),
    )
  })
})
