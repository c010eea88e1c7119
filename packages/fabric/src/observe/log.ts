/** Ordered by how much they ask of the operator. */
export const LOG_LEVELS = ['error', 'warn', 'info'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export type LogFacts = Readonly<Record<string, string | number>>
export type Log = (event: string, facts?: LogFacts) => void

export interface LogLine {
  readonly at: number
  readonly level: LogLevel
  readonly event: string
  readonly facts: LogFacts
}

export interface LogOptions {
  /** The least that is logged. */
  readonly level: LogLevel
  now(): number
  write(line: LogLine): void
}

/** Of one kind in a minute; what is beyond is counted, and the count is on the next line. */
const perMinute = 20
const minuteMs = 60_000
const factLengthMax = 1_000
const factsMax = 20
/** Kinds are words of the program. Were one made of input, it would not fill the memory. */
const kindsMax = 500

/** By the words of an event: a kind that this table does not know is information. */
const levels: readonly (readonly [LogLevel, RegExp])[] = [
  ['error', /not closed in order|cannot|failed|not on record|refuses every/],
  ['warn', /not taken|little|nearly|low|fewer|doubtful|unknown outcome|taken by|warning|dropped/],
]

export function levelOf(event: string): LogLevel {
  return levels.find(([, words]) => words.test(event))?.[0] ?? 'info'
}

/**
 * One event a line. A line is bounded, is one line, and has no character that a terminal acts on,
 * whatever a fact holds; and no client can fill the disk by making one kind of event happen.
 */
export function createLog({ level, now, write }: LogOptions): Log {
  const kinds = new Map<string, { since: number; count: number }>()
  const admits = (event: string, at: number): { dropped: number } | null => {
    const kind = kinds.get(event)
    if (kind === undefined || at - kind.since >= minuteMs) {
      if (kinds.size >= kindsMax) kinds.clear()
      kinds.set(event, { since: at, count: 1 })
      return { dropped: Math.max(0, (kind?.count ?? 0) - perMinute) }
    }
    kind.count += 1
    return kind.count <= perMinute ? { dropped: 0 } : null
  }
  return (event, facts = {}) => {
    const of = levelOf(event)
    if (LOG_LEVELS.indexOf(of) > LOG_LEVELS.indexOf(level)) return
    const at = now()
    const admitted = admits(event, at)
    if (admitted === null) return
    const { dropped } = admitted
    write({
      at,
      level: of,
      event: cleaned(event),
      facts: { ...bounded(facts), ...(dropped === 0 ? {} : { 'dropped before': dropped }) },
    })
  }
}

function bounded(facts: LogFacts): LogFacts {
  return Object.fromEntries(
    Object.entries(facts)
      .slice(0, factsMax)
      .map(([name, value]) => [cleaned(name), typeof value === 'number' ? value : cleaned(value)]),
  )
}

/** Control characters, line separators and marks that turn the direction of text around. */
const acting = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

function cleaned(text: string): string {
  const cut = text.length > factLengthMax ? `${text.slice(0, factLengthMax)}…` : text
  return cut
    .toWellFormed()
    .replaceAll(acting, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)
}

export function formatJsonLine({ at, level, event, facts }: LogLine): string {
  return JSON.stringify({ at: new Date(at).toISOString(), level, event, ...facts })
}

export function formatTextLine({ at, level, event, facts }: LogLine): string {
  const pairs = Object.entries(facts).map(([name, value]) => {
    const text = String(value)
    return `${name}=${/[\s"=]/.test(text) ? JSON.stringify(text) : text}`
  })
  return [new Date(at).toISOString(), level.padEnd(5), event, ...pairs].join(' ')
}
