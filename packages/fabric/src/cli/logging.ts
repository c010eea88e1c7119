import { Option } from 'commander'
import {
  createLog,
  formatJsonLine,
  formatTextLine,
  type Log,
  type LogLevel,
} from '../observe/log.ts'
import type { CliContext } from './context.ts'

export interface LogSettings {
  readonly level: LogLevel
  readonly format: 'text' | 'json'
}

export function logFormatOption(byDefault?: LogSettings['format']): Option {
  const option = new Option('--log-format <format>', 'how the log on stderr is written')
  option.choices(['text', 'json'])
  return byDefault === undefined ? option : option.default(byDefault)
}

/** The log of a server: on stderr, so that stdout holds its answer and nothing else. */
export function logOf({ terminal, clock }: CliContext, { level, format }: LogSettings): Log {
  return createLog({
    level,
    now: () => clock.now(),
    write: (line) =>
      terminal.note(format === 'json' ? { whole: formatJsonLine(line) } : formatTextLine(line)),
  })
}
