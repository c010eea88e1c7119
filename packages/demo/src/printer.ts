import { legible } from '@countersign/protocol'
import type { DemoDeps, DemoTerminal } from './deps.ts'
import type { StepResult } from './step.ts'

export interface StepReport extends StepResult {
  readonly step: string
  readonly title: string
  readonly ok: boolean
  readonly ms: number
}

/** The agents are ready. */
export interface AgentsReady {
  /** Process ids by the names of the agents. */
  readonly processes: Readonly<Record<string, number>>
  readonly ms: number
}

export interface DemoReport {
  readonly ok: boolean
  readonly ms: number
  /** Entries in the log afterwards; null when the fabric did not return its status. */
  readonly logSize: number | null
  readonly steps: readonly StepReport[]
}

/** Prints each step when it has ended: as text for people, or as one JSON document a line. */
export interface Printer {
  begin(): void
  ready(agents: AgentsReady): void
  step(report: StepReport): void
  end(report: DemoReport): void
}

export type PrinterDeps = Pick<DemoDeps, 'terminal' | 'json' | 'keepsRunning'>

export function createPrinter(deps: PrinterDeps): Printer {
  return deps.json ? createJsonPrinter(deps.terminal) : new TextPrinter(deps)
}

function createJsonPrinter({ print }: DemoTerminal): Printer {
  const tenths = (ms: number): number => Math.round(ms * 10) / 10
  const line = (value: object): void => print({ whole: JSON.stringify(value) })
  return {
    begin: () => undefined,
    ready({ processes, ms }) {
      line({ step: 'setup', ok: true, ms: tenths(ms), processes })
    },
    step({ step, ok, ms, checks, facts }) {
      line({ step, ok, ms: tenths(ms), checks, ...facts })
    },
    end({ ok, ms, logSize, steps }) {
      const held = steps.filter((step) => step.ok).length
      line({ step: 'summary', ok, ms: tenths(ms), steps: steps.length, held, logSize })
    },
  }
}

/** The width of a common terminal: no line is longer. */
export const columnsMax = 80
const indent = '    '
const labelColumns = 13

class TextPrinter implements Printer {
  readonly #terminal: DemoTerminal
  readonly #keepsRunning: boolean
  #progress = { stop: (): void => undefined }
  #count = 0

  constructor({ terminal, keepsRunning }: PrinterDeps) {
    this.#terminal = terminal
    this.#keepsRunning = keepsRunning
  }

  begin(): void {
    const { paint, print, progress } = this.#terminal
    print(`\n${paint('bold', 'Three agents, three transports, one set of policies')}`)
    this.#progress = progress('The agents are getting ready')
  }

  ready({ processes, ms }: AgentsReady): void {
    const { paint, print } = this.#terminal
    this.#progress.stop()
    const agents = Object.entries(processes).map(([name, pid]) => `${name} (process ${pid})`)
    const text = `${agents.join(', ')}: on the official SDKs, ready in ${ms.toFixed(0)} ms`
    const lines = wrap(text, columnsMax - 2)
    print(lines.map((line) => paint('dim', `  ${line}`)).join('\n'))
  }

  step({ step, title, ok, ms, checks, seen }: StepReport): void {
    this.#count += 1
    const lines = [
      ...this.#head({ step, title, ok, ms }),
      ...seen.flatMap(([label, text]) => this.#labelled(label, text)),
      ...this.#checked(checks),
    ]
    this.#terminal.print(`\n${lines.join('\n')}`)
  }

  #head({ step, title, ok, ms }: Omit<StepReport, keyof StepResult>): readonly string[] {
    const { paint } = this.#terminal
    const name = `${this.#count}. ${step}:`
    const took = keptTogether(` ${ms.toFixed(0)} ms`)
    const lines = wrap(`${name} ${title} ${took}`, columnsMax - 2)
    return lines.map((line, at) => {
      const painted = separated(line)
        .replace(name, () => `${this.#count}. ${paint('bold', step)}:`)
        .replace(separated(took), (text) => paint('dim', text))
      return `${at > 0 ? ' ' : ok ? paint('green', '✓') : paint('red', '✗')} ${painted}`
    })
  }

  #labelled(label: string, text: string): readonly string[] {
    const { paint } = this.#terminal
    const columns = columnsMax - indent.length - labelColumns
    return wrap(legible(text), columns).map((line, at) => {
      const name = (at === 0 ? label : '').padEnd(labelColumns)
      return `${indent}${paint('dim', name)}${line}`
    })
  }

  /** Prints passed checks together, and each failed check on lines of its own. */
  #checked(checks: StepReport['checks']): readonly string[] {
    const { paint } = this.#terminal
    const columns = columnsMax - indent.length
    const passed = checks
      .filter(({ ok }) => ok)
      .map(({ says }) => keptTogether(`✓ ${legible(says)} `))
    const failed = checks.filter(({ ok }) => !ok).map(({ says }) => `✗ ${legible(says)}`)
    return [
      ...(passed.length === 0 ? [] : wrap(passed.join(' '), columns)).map(
        (line) => `${indent}${separated(line).replaceAll('✓', paint('green', '✓'))}`,
      ),
      ...failed.flatMap((text) => wrap(text, columns).map((line) => indent + paint('red', line))),
    ]
  }

  end({ ok, ms, logSize, steps }: DemoReport): void {
    const { paint, print } = this.#terminal
    this.#progress.stop()
    const held = steps.filter((step) => step.ok).length
    const size = logSize === null ? '' : `, ${logSize} entries in the log`
    const verdict = ok ? 'Passed' : 'Failed'
    const figures = `${held} of ${steps.length} steps held, ${(ms / 1000).toFixed(1)} s${size}`
    print(`\n${paint(ok ? 'green' : 'red', verdict)}: ${figures}.`)
    print('The agents’ processes have ended; the agents stay enrolled.')
    if (ok) print(`\n${this.#keepsRunning ? this.#next(steps) : this.#start()}`)
  }

  #start(): string {
    return this.#rows([
      ['start a fabric', 'npx countersign up'],
      ['protect', 'npx countersign protect http://127.0.0.1:9000 --as billing'],
    ])
  }

  #next(steps: readonly StepReport[]): string {
    const exchange = steps
      .map(({ facts }) => facts['exchange'])
      .find((id) => typeof id === 'string')
    return this.#rows([
      ['watch', 'npx countersign console'],
      ['protect', 'npx countersign protect http://127.0.0.1:9000 --as billing'],
      ['explain', `npx countersign explain ${exchange ?? '<exchange>'}`],
    ])
  }

  #rows(rows: readonly (readonly [what: string, command: string])[]): string {
    const { paint } = this.#terminal
    const width = Math.max(...rows.map(([what]) => what.length))
    const lines = rows.map(([what, command]) => `  ${paint('dim', what.padEnd(width))}  ${command}`)
    return [paint('bold', 'Next'), ...lines].join('\n')
  }
}

/** Lines of at most `columns`, broken at blanks, and within a word that is longer than a line. */
function wrap(text: string, columns: number): readonly string[] {
  const longest = new RegExp(`.{1,${columns}}`, 'gsu')
  const lines: string[] = []
  let line = ''
  const pieces = text.split(' ').flatMap((word) => word.match(longest) ?? [''])
  for (const piece of pieces) {
    const isFull = line !== '' && line.length + 1 + piece.length > columns
    if (isFull) lines.push(line)
    line = isFull || line === '' ? piece : `${line} ${piece}`
  }
  return [...lines, line]
}

/** Blanks that `wrap` does not break at, and back. */
const keptTogether = (text: string): string => text.replaceAll(' ', '\u00a0')
const separated = (text: string): string => text.replaceAll('\u00a0', ' ').trimEnd()
