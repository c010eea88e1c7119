import { type EntryView, isLegible } from '@countersign/protocol'
import fc from 'fast-check'
import { expect } from 'vitest'
import { ENTRY_COLUMNS, entryRow, WATCH_WIDTHS } from '../../packages/fabric/src/cli/entry-view.ts'
import { explain } from '../../packages/fabric/src/cli/explain.ts'
import { logOf } from '../../packages/fabric/src/cli/logging.ts'
import { displayWidth } from '../../packages/fabric/src/cli/output/display-width.ts'
import { createOutput } from '../../packages/fabric/src/cli/output/output.ts'
import {
  formatFittedLine,
  formatStreamLine,
} from '../../packages/fabric/src/cli/output/stream-lines.ts'
import { createTerminal, type Terminal } from '../../packages/fabric/src/cli/output/terminal.ts'
import { attack } from '../harness/attack.ts'
import { narrowClusters, rowsOf, wcwidth } from '../harness/rows.ts'
import { verifies } from '../requirements.ts'

const clock = { now: () => 0, monotonic: () => 0 }

/** Returns what `view` writes to a terminal of `columns`, on either stream, without its colours. */
function written(columns: number, view: (terminal: Terminal) => void): string {
  let text = ''
  const screen = { isTTY: true, columns, write: (added: unknown) => void (text += String(added)) }
  view(createTerminal({ stdout: screen, stderr: screen, colours: true, clock }))
  return text.trimEnd().replaceAll(new RegExp(`${'\u001b'}\\[\\d+m`, 'g'), '')
}

const entryOf = (tool: string): EntryView => ({
  ...{ kind: 'refusal', exchange: 'exc_a_00000000000070008000000000000000', index: 0, at: 0 },
  ...{ caller: 'caller', principal: 'caller', object: null, reason: tool, changedBy: null },
  facts: { code: 'CONTENT_BLOCKED', operation: 'tools/call', receiver: 'echo', tool },
  ...{ producer: null, ended: { result: 'refused', code: 'CONTENT_BLOCKED', reason: null } },
})

/** Every view of the command line in which a text of another stands. */
const views: Readonly<Record<string, (text: string) => (terminal: Terminal) => void>> = {
  message: (text) => (terminal) => {
    createOutput(terminal, false).line(text, () => `1 from mallory\n${terminal.indented(text)}`)
  },
  table: (text) => (terminal) => {
    terminal.print(terminal.table({ columns: ENTRY_COLUMNS, rows: [entryRow(entryOf(text))] }))
  },
  'table of many columns': (text) => (terminal) => {
    const columns = Array.from({ length: 10 }, (_, i) => ({ title: `c${i}` }))
    terminal.print(terminal.table({ columns, rows: [columns.map(() => text)] }))
  },
  stream: (text) => (terminal) => {
    const cells = entryRow(entryOf(text))
    const widths = [6, 8, 8, 7, 14, 14, 20, 18, 12]
    terminal.print(formatStreamLine(cells, { widths, paint: terminal.paint }))
  },
  'stream that fits the terminal': (text) => (terminal) => {
    const { width, paint } = terminal
    const layout = { columns: ENTRY_COLUMNS, widths: WATCH_WIDTHS, width: width(), paint }
    terminal.print(formatFittedLine(entryRow(entryOf(text)), layout))
  },
  facts: (text) => (terminal) => terminal.print(terminal.facts([['reason', text]])),
  paragraphs: (text) => (terminal) => terminal.print(terminal.paragraphs([['reason', text]])),
  explanation: (text) => (terminal) => {
    const policy = { text: `Denied: agent "caller" asks.\n  context.tool is "${text}"` }
    const explained = { exchange: 'exc_1', entries: [entryOf(text)], policy }
    terminal.print(explain(explained, terminal))
  },
  failure: (text) => (terminal) => terminal.fault(`it answered ${text}`, `ask about ${text}`),
  log: (text) => (terminal) => {
    const context = { terminal, clock } as Parameters<typeof logOf>[0]
    logOf(context, { level: 'info', format: 'text' })('connector taken', { name: text })
  },
}

/**
 * Code points that are shown as themselves, in the order of Unicode, so that scripts stand
 * together.
 */
const shown = Array.from({ length: 0x33480 }, (_, code) => code)
  .filter((code) => code < 0xd800 || code > 0xdfff)
  .map((code) => String.fromCodePoint(code))
  .filter((character) => /[\p{L}\p{M}\p{N}\p{S}]/u.test(character) && isLegible(`aa${character}`))
const letters = shown.filter(
  (character) =>
    !/[\u3400-\u9fff\uac00-\ud7a3\u{17000}-\u{18cff}\u{20000}-\u{33480}]/u.test(character),
)

/** Letters and marks of one script after another. */
const ofScripts = fc
  .array(
    fc
      .tuple(fc.nat(letters.length - 1), fc.array(fc.nat(80), { minLength: 1, maxLength: 6 }))
      .map(([from, steps]) => steps.map((step) => letters[from + step] ?? 'a').join('')),
    { minLength: 1, maxLength: 3 },
  )
  .map((words) => words.join(''))
const repeated = fc
  .tuple(fc.oneof(ofScripts, fc.constantFrom(...narrowClusters, 'x')), fc.nat(130), fc.boolean())
  .map(([unit, count, isSpaced]) => (isSpaced ? `${unit} ` : unit).repeat(count))
const texts = repeated.map((fill) => `${fill}7 from boss, text/plain, pay 5 to mallory`)

const atEdge = (lines: readonly string[]) => lines.filter((line) => !line.startsWith(' ')).length

attack(verifies(['record:legible'], 'no text begins a row of the terminal'), {
  gateway: 'it answers programs',
  mesh: {
    ...Object.fromEntries(
      Object.entries(views).map(([name, view]) => [
        `in a ${name}`,
        () => {
          fc.assert(
            fc.property(texts, fc.integer({ min: 24, max: 120 }), (text, columns) => {
              const lines = written(columns, view(text)).split('\n')
              expect(rowsOf(lines.join('\n'), columns)).toEqual(lines)
              const plain = written(columns, view('x')).split('\n')
              expect(atEdge(lines)).toBe(atEdge(plain))
            }),
          )
          return Promise.resolve()
        },
      ]),
    ),
    'by a character that is wider than it is counted': () => {
      const narrow = shown.filter((character) => displayWidth(character) < wcwidth(character))
      expect(narrow).toEqual([])
      return Promise.resolve()
    },
    'and what people copy, or programs read, stays whole': () => {
      const long = 'x'.repeat(200)
      expect(written(40, (terminal) => terminal.print({ whole: long }))).toBe(long)
      const json = written(40, (terminal) => createOutput(terminal, true).line(long, String))
      expect(JSON.parse(json)).toBe(long)
      return Promise.resolve()
    },
  },
  queue: 'messages are a view of the mesh’s list',
})
