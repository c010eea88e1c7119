import type { Clock } from '../../lib/clock.ts'
import { formatIndented, formatLines, legible } from './display-width.ts'
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

/**
 * Lines, which are broken at the width of a terminal, or text `whole`: JSON, and what people copy.
 */
export type Printed = string | { readonly whole: string }

/** The destination of a command's output: text for people, or JSON for programs, never both. */
export interface Terminal {
  readonly paint: Paint
  /** One line or more on stdout. */
  readonly print: (text: Printed) => void
  /** Bytes on stdout, exactly. */
  readonly write: (bytes: Uint8Array) => void
  /** One line or more on stderr: what is not the answer itself. */
  readonly note: (text: Printed) => void
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

/** A terminal without a size, as in a container, states none or zero. */
function columnsOf({ columns = 0 }: Screen): number {
  return columns > 0 ? columns : columnsDefault
}

function widthOf(screen: Screen): number {
  return screen.isTTY === true ? columnsOf(screen) : Number.POSITIVE_INFINITY
}

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
  const width = (): number => widthOf(stdout)
  const write = (screen: Screen, text: Printed): void => {
    const shown = typeof text === 'string' ? formatLines(text, widthOf(screen)) : text.whole
    screen.write(`${shown}\n`)
  }
  const layout = () => ({ width: width(), paint })
  return {
    paint,
    width,
    print: (text) => write(stdout, text),
    write: (bytes) => void stdout.write(bytes),
    note: (text) => write(stderr, text),
    table: (table) => formatTable(table, layout()),
    facts: (facts) => formatFacts(facts, layout()),
    paragraphs: (facts) => formatParagraphs(facts, layout()),
    indented: (text) => formatIndented(text, width()),
    progress(text) {
      if (stderr.isTTY !== true) return silentProgress
      return startProgress(text, {
        stream: stderr,
        columns: columnsOf(stderr),
        clock,
      })
    },
    fault(message, next) {
      write(stderr, `${errorPaint('red', 'error:')} ${belowFirst(message)}`)
      if (next !== '') write(stderr, `${errorPaint('cyan', 'next:')} ${belowFirst(next)}`)
    },
  }
}
