import type { Progress } from './progress.ts'
import { silentProgress } from './progress.ts'
import type { Printed, Terminal } from './terminal.ts'

/** The destination of one command's answer: chosen once, by `--json`. */
export interface Output {
  readonly json: boolean
  readonly terminal: Terminal
  /** The whole answer: one JSON document, or what `render` makes of it. */
  show<T>(value: T, render: (value: T) => Printed): void
  /** One element of a stream: a line of JSON, or what `render` makes of it. */
  line<T>(value: T, render: (value: T) => Printed): void
  /** For people only, in addition to the answer. */
  note(text: Printed): void
  progress(text: string): Progress
}

export function createOutput(terminal: Terminal, json: boolean): Output {
  return {
    json,
    terminal,
    show(value, render) {
      terminal.print(json ? { whole: formatJson(value, 2) } : render(value))
    },
    line(value, render) {
      terminal.print(json ? { whole: formatJson(value, 0) } : render(value))
    },
    note(text) {
      if (!json) terminal.note(text)
    },
    progress: (text) => (json ? silentProgress : terminal.progress(text)),
  }
}

/** Byte strings become hex, maps objects, and what JSON has no word for becomes text. */
function formatJson(value: unknown, indent: number): string {
  return JSON.stringify(value ?? null, jsonForm, indent)
}

function jsonForm(_: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  if (value instanceof Map) return Object.fromEntries(value)
  return typeof value === 'bigint' ? value.toString() : value
}
