import { legible } from '../output/display-width.ts'
import { silentProgress } from '../output/progress.ts'
import type { Terminal } from '../output/terminal.ts'
import type { Played } from './scene.ts'

export interface StepReport extends Played {
  readonly step: string
  readonly title: string
  readonly ok: boolean
  readonly ms: number
}

/** The agents are ready. */
export interface Introduction {
  /** Process ids by the names of the agents. */
  readonly processes: Readonly<Record<string, number>>
  readonly ms: number
}

export interface StoryReport {
  readonly ok: boolean
  readonly ms: number
  /** Entries in the log afterwards; null when the fabric did not state it. */
  readonly logSize: number | null
  readonly steps: readonly StepReport[]
}

/** Tells the story as it happens: to a person, or as one JSON line a step. */
export interface Narrator {
  begin(): void
  introduce(cast: Introduction): void
  step(report: StepReport): void
  end(report: StoryReport): void
}

export interface NarratorOptions {
  readonly out: Terminal
  readonly json: boolean
  /** True if the fabric is still running afterwards, for the reader of the output to use. */
  readonly keepsRunning: boolean
}

export function createNarrator(options: NarratorOptions): Narrator {
  const { out, json } = options
  return json ? jsonNarrator(out) : new Storyteller(options)
}

function jsonNarrator(out: Terminal): Narrator {
  const tenths = (ms: number): number => Math.round(ms * 10) / 10
  return {
    begin: () => undefined,
    introduce({ processes, ms }) {
      out.print({ whole: JSON.stringify({ step: 'setup', ok: true, ms: tenths(ms), processes }) })
    },
    step({ step, ok, ms, checks, facts }) {
      out.print({ whole: JSON.stringify({ step, ok, ms: tenths(ms), checks, ...facts }) })
    },
    end({ ok, ms, logSize, steps }) {
      const held = steps.filter((step) => step.ok).length
      const summary = { step: 'summary', ok, ms: tenths(ms), steps: steps.length, held, logSize }
      out.print({ whole: JSON.stringify(summary) })
    },
  }
}

const labelWidth = 13
/** Label, text and the blanks around them fill one line of a common terminal. */
const textWidth = 100

class Storyteller implements Narrator {
  readonly #out: Terminal
  readonly #keepsRunning: boolean
  #progress = silentProgress
  #count = 0

  constructor({ out, keepsRunning }: NarratorOptions) {
    this.#out = out
    this.#keepsRunning = keepsRunning
  }

  begin(): void {
    const { paint, print, progress } = this.#out
    print(`\n${paint('bold', 'Three agents, three ways across, one set of rules')}`)
    this.#progress = progress('The agents are getting ready')
  }

  introduce({ processes, ms }: Introduction): void {
    const { paint, print } = this.#out
    this.#progress.stop()
    const cast = Object.entries(processes).map(([name, pid]) => `${name} (process ${pid})`)
    print(paint('dim', `  ${cast.join(', ')}: on the official SDKs, ready in ${ms.toFixed(0)} ms`))
  }

  step({ step, title, ok, ms, checks, seen }: StepReport): void {
    const { paint, print } = this.#out
    this.#count += 1
    const mark = ok ? paint('green', '✓') : paint('red', '✗')
    const head = `${mark} ${this.#count}. ${paint('bold', step)}: ${title}`
    const lines = seen.flatMap(([label, text]) => this.#labelled(label, text))
    const took = paint('dim', `${ms.toFixed(0)} ms`)
    print([`\n${head}  ${took}`, ...lines, ...this.#checked(checks)].join('\n'))
  }

  #labelled(label: string, text: string): readonly string[] {
    const { paint } = this.#out
    const blank = ' '.repeat(labelWidth)
    return wrap(legible(text), textWidth - labelWidth).map((line, at) => {
      const name = at === 0 ? label.padEnd(labelWidth) : blank
      return `    ${paint('dim', name)}${line}`
    })
  }

  /**
   * The checks that held, as many to a line as fit; those that did not hold, on lines of their own.
   */
  #checked(checks: StepReport['checks']): readonly string[] {
    const { paint } = this.#out
    const held = checks
      .filter(({ ok }) => ok)
      .map(({ says }) => keptTogether(`✓ ${legible(says)} `))
    const lines = held.length === 0 ? [] : wrap(held.join(' '), textWidth)
    const faults = checks.filter(({ ok }) => !ok).map(({ says }) => `✗ ${legible(says)}`)
    return [
      ...lines.map((line) => `    ${separated(line).replaceAll('✓', paint('green', '✓'))}`),
      ...faults.map((fault) => `    ${paint('red', fault)}`),
    ]
  }

  end({ ok, ms, logSize, steps }: StoryReport): void {
    const { paint, print } = this.#out
    this.#progress.stop()
    const held = steps.filter((step) => step.ok).length
    const size = logSize === null ? '' : `, ${logSize} entries in the log`
    const figures = `${held} of ${steps.length} steps held, ${(ms / 1000).toFixed(1)} s${size}`
    const verdict = ok ? paint('green', 'All of it held') : paint('red', 'Not all of it held')
    print(`\n${verdict}: ${figures}. The agents’ processes have ended; they stay enrolled.`)
    if (ok) print(`\n${this.#keepsRunning ? this.#next(steps) : this.#start()}`)
  }

  #start(): string {
    return this.#rows([
      ['npx countersign up', 'start a fabric of your own, in this folder'],
      [
        'npx countersign protect http://127.0.0.1:9000 --as billing',
        'put your own agent behind it',
      ],
    ])
  }

  #next(steps: readonly StepReport[]): string {
    const exchange = steps
      .map(({ facts }) => facts['exchange'])
      .find((id) => typeof id === 'string')
    return this.#rows([
      ['npx countersign console', 'watch decisions as they are made'],
      [
        'npx countersign protect http://127.0.0.1:9000 --as billing',
        'put your own agent behind it',
      ],
      [`npx countersign explain ${exchange ?? '<exchange>'}`, 'why it was decided so'],
    ])
  }

  #rows(rows: readonly (readonly [command: string, why: string])[]): string {
    const { paint } = this.#out
    const width = Math.max(...rows.map(([command]) => command.length))
    const lines = rows.map(([command, why]) => `  ${command.padEnd(width)}  ${paint('dim', why)}`)
    return [paint('bold', 'Where to go next'), ...lines].join('\n')
  }
}

/** Lines of at most `columns`, broken at blanks; what has none stays whole. */
function wrap(text: string, columns: number): readonly string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}

/** Blanks that `wrap` does not break at, and back. */
const keptTogether = (text: string): string => text.replaceAll(' ', '\u00a0')
const separated = (text: string): string => text.replaceAll('\u00a0', ' ').trimEnd()
