import type { Clock } from '../../lib/clock.ts'
import { formatIndented, legible } from './display-width.ts'
import { colourPaint, type Paint, plainPaint } from './paint.ts'
import { type Progress, silentProgress, startProgress } from './progress.ts'
import { type Cell, formatFacts, formatParagraphs, formatTable, type Table } from './table.ts'

/** One of the two streams, as far as the command line uses it. */
export interface Screen {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string | Uint8Array): unknown
}

export interface TerminalOptions {
  readonly stdout: Screen
  readonly stderr: Screen
  readonly colours: boolean
  readonly clock: Clock
}

/** What a command writes to: text for people, or JSON for programs, never both. */
export interface Terminal {
  readonly paint: Paint
  /** Whether a person is there to watch; then long work shows progress. */
  readonly watched: boolean
  /** One line or more on stdout. */
  readonly print: (text: string) => void
  /** Bytes on stdout, exactly. */
  readonly write: (bytes: Uint8Array) => void
  /** One line or more on stderr: what is not the answer itself. */
  readonly note: (text: string) => void
  /** Columns of stdout; infinite for a pipe. */
  readonly width: () => number
  readonly table: (table: Table) => string
  readonly facts: (facts: readonly (readonly [name: string, value: Cell])[]) => string
  /** As `facts`, with values in as many lines as they need: nothing of them is cut. */
  readonly paragraphs: (facts: readonly (readonly [name: string, value: Cell])[]) => string
  /** Text of others below a line of ours: every row is indented. */
  readonly indented: (text: string) => string
  readonly progress: (text: string) => Progress
  /** On stderr, in its own colours. */
  readonly fault: (message: string, next: string) => void
}

const columnsDefault = 80

/** A failure may quote what others answered: further lines of it begin like none of ours. */
function belowFirst(text: string): string {
  return text
    .split('\n')
    .map((line, i) => (i === 0 || /^ +\S/.test(line) ? legible(line) : `  ${legible(line)}`))
    .join('\n')
}

export function createTerminal({ stdout, stderr, colours, clock }: TerminalOptions): Terminal {
  const paintFor = (screen: Screen): Paint =>
    colours && screen.isTTY === true ? colourPaint : plainPaint
  const paint = paintFor(stdout)
  const errorPaint = paintFor(stderr)
  const width = (): number =>
    stdout.isTTY === true ? (stdout.columns ?? columnsDefault) : Number.POSITIVE_INFINITY
  const layout = () => ({ width: width(), paint })
  return {
    paint,
    watched: stderr.isTTY === true,
    width,
    print: (text) => void stdout.write(`${text}\n`),
    write: (bytes) => void stdout.write(bytes),
    note: (text) => void stderr.write(`${text}\n`),
    table: (table) => formatTable(table, layout()),
    facts: (facts) => formatFacts(facts, layout()),
    paragraphs: (facts) => formatParagraphs(facts, layout()),
    indented: (text) => formatIndented(text, width()),
    progress(text) {
      if (stderr.isTTY !== true) return silentProgress
      return startProgress(text, {
        stream: stderr,
        columns: stderr.columns ?? columnsDefault,
        clock,
      })
    },
    fault(message, next) {
      stderr.write(`${errorPaint('red', 'error:')} ${belowFirst(message)}\n`)
      if (next !== '') stderr.write(`${errorPaint('cyan', 'next:')} ${belowFirst(next)}\n`)
    },
  }
}
