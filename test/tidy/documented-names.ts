/** A command of the command line, by what documents can name of it. */
export interface CommandShape {
  readonly name: string
  readonly commands: readonly CommandShape[]
  /** Long flags, with those that every command has. */
  readonly options: ReadonlySet<string>
}

export interface Names {
  readonly program: CommandShape
  /** Keys of the configuration and rows of the table of limits. */
  readonly settings: ReadonlySet<string>
  /** Administrative operations. */
  readonly operations: ReadonlySet<string>
  /** Annotations of policies, without their sign. */
  readonly annotations: ReadonlySet<string>
  /** The product's sources, in which facts and environment variables are literals. */
  readonly sources: string
}

/** Options that documents mention of other programs. */
const FOREIGN_OPTIONS: ReadonlySet<string> = new Set([
  ...['--auth', '--max-old-space-size', '--proxy-user', '--times', '--user'],
])

/** Derived components of RFC 9421, which are written like annotations. */
const COMPONENTS: ReadonlySet<string> = new Set([
  ...['method', 'path', 'query', 'authority', 'target-uri', 'status'],
])

interface Code {
  readonly text: string
  readonly isFenced: boolean
}

function codesOf(text: string): readonly Code[] {
  const fences = [...text.matchAll(/^```.*\n([^]*?)^```/gm)].flatMap(([, body = '']) =>
    body
      .replaceAll('\\\n', ' ')
      .split('\n')
      .map((line) => ({ text: line.trim(), isFenced: true })),
  )
  const spans = [...text.replaceAll(/^```[^]*?^```/gm, '').matchAll(/`([^`]+)`/g)]
  return [
    ...fences,
    ...spans.map(([, span = '']) => ({ text: span.replaceAll(/\s+/g, ' '), isFenced: false })),
  ]
}

const isWord = (word: string): boolean => /^[a-z][a-z-]*$/.test(word)
const flagsOf = (text: string): readonly string[] =>
  [...text.matchAll(/(?:^|\s)(--[a-z][a-z-]*)/g)].map(([, flag = '']) => flag)

/** Each command line of ours in a document names commands and options that exist. */
export function commandFaults(file: string, text: string, { program }: Names): readonly string[] {
  return codesOf(text).flatMap(({ text: line }) => {
    const rest = /^(?:\$ |npm run )?countersign (?:-- )?(.+)$/.exec(line)?.[1]
    if (rest === undefined || !/^[a-z-]/.test(rest)) return []
    const [command, left] = walk(program, rest.split(' '))
    const [next = ''] = left
    if (command.commands.length > 0 && isWord(next)) {
      return [`${file} names ${line}: ${command.name} has no command ${next}`]
    }
    return flagsOf(left.join(' '))
      .filter((flag) => !command.options.has(flag))
      .map((flag) => `${file} names ${line}: ${command.name} has no option ${flag}`)
  })
}

function walk(from: CommandShape, words: readonly string[]): [CommandShape, readonly string[]] {
  const [first = '', ...rest] = words
  const found = from.commands.find(({ name }) => name === first)
  return found === undefined ? [from, words] : walk(found, rest)
}

const allOptions = ({ options, commands }: CommandShape): readonly string[] => [
  ...options,
  ...commands.flatMap(allOptions),
]

/** Each option that stands alone belongs to some command. */
export function optionFaults(file: string, text: string, { program }: Names): readonly string[] {
  const known = new Set(allOptions(program))
  return codesOf(text).flatMap(({ text: span, isFenced }) => {
    const flag = isFenced ? undefined : /^(--[a-z][a-z-]*)(?: |$)/.exec(span)?.[1]
    if (flag === undefined || known.has(flag) || FOREIGN_OPTIONS.has(flag)) return []
    return [`${file} names the option ${flag}, which no command has`]
  })
}

/** Rows of tables of commands: the commands of the first cell, and the options of the others. */
export function commandTableFaults(file: string, text: string, names: Names): readonly string[] {
  return rowsOf(text).flatMap(({ cells, effect }) => {
    const found = resolve(names.program, cells)
    const missing = cells.filter((_, i) => found[i] === null)
    const options = new Set(found.flatMap((command) => [...(command?.options ?? [])]))
    return [
      ...missing.map((cell) => `${file} has a row for ${cell}, no such command`),
      ...effect
        .filter((flag) => !options.has(flag))
        .map((flag) => `${file} has ${flag} in the row of ${cells.join(', ')}, which lacks it`),
    ]
  })
}

/** Commands that have no row in any table of commands. */
export function commandsWithoutRow(text: string, { program }: Names): readonly string[] {
  const rows = new Set(rowsOf(text).flatMap(({ cells }) => resolve(program, cells)))
  const leaves = (command: CommandShape, path: string): readonly string[] => {
    if (command.commands.length > 0) {
      return command.commands.flatMap((each) => leaves(each, `${path} ${each.name}`))
    }
    return rows.has(command) ? [] : [`no table has a row for${path}`]
  }
  return leaves(program, '')
}

interface Row {
  readonly cells: readonly string[]
  readonly effect: readonly string[]
}

function rowsOf(text: string): readonly Row[] {
  return [...text.matchAll(/^\| Command \|.*\n\| -.*\n((?:\|.*\n)+)/gm)].flatMap(([, body = '']) =>
    body
      .trim()
      .split('\n')
      .map((row) => {
        const [, first = '', ...others] = row.split(' | ').join('|').split('|')
        const spans = (cell: string) =>
          [...cell.matchAll(/`([^`]+)`/g)].map(([, span = '']) => span)
        return {
          cells: spans(first),
          effect: spans(others.join('|')).flatMap((span) =>
            span.startsWith('--') ? flagsOf(span) : [],
          ),
        }
      }),
  )
}

/** `agent revoke <name>` from the top; a later `restore` in the same cell may lack its group. */
function resolve(
  program: CommandShape,
  cells: readonly string[],
): readonly (CommandShape | null)[] {
  const [group = ''] = cells[0]?.split(' ') ?? []
  return cells.map((cell) => {
    const words = cell.split(' ')
    for (const path of [words, [group, ...words]]) {
      const [command, left] = walk(program, path)
      const isWhole = command.commands.length === 0 && !left.some(isWord)
      if (isWhole && left.length < path.length) return command
    }
    return null
  })
}

/** `limits.bodyBytes`, `agent.list`, `policy.version`: settings, operations, or facts. */
export function dottedNameFaults(file: string, text: string, names: Names): readonly string[] {
  const { settings, operations, sources } = names
  const isFile = /\.(?:md|json|ya?ml|ts|db|pem)$/
  const areas = new Set([...settings, ...operations].map((name) => name.split('.')[0]))
  return codesOf(text).flatMap(({ text: span, isFenced }) => {
    const area = /^([a-z]+)\.[a-zA-Z.-]+$/.exec(span)?.[1]
    if (isFenced || area === undefined || !areas.has(area) || isFile.test(span)) return []
    const isKnown = settings.has(span) || operations.has(span) || sources.includes(`'${span}'`)
    return isKnown ? [] : [`${file} names ${span}, which is not a setting, operation or fact`]
  })
}

export function annotationFaults(file: string, text: string, names: Names): readonly string[] {
  return codesOf(text).flatMap(({ text: code }) => {
    const name = /^@([a-z-]+)(?:\(.*)?$/.exec(code)?.[1]
    return name === undefined || names.annotations.has(name) || COMPONENTS.has(name)
      ? []
      : [`${file} names the annotation @${name}, which policies do not have`]
  })
}

export function variableFaults(file: string, text: string, { sources }: Names): readonly string[] {
  const named = new Set([...text.matchAll(/\bCOUNTERSIGN_[A-Z_]+\b/g)].map(([name]) => name))
  return [...named]
    .filter((name) => !sources.includes(name))
    .map((name) => `${file} names the variable ${name}, which nothing reads`)
}

/** Each message in the tables of messages is written in the sources, around its variable parts. */
export function messageFaults(file: string, text: string, { sources }: Names): readonly string[] {
  const written = sources.replaceAll(/['`]\s*\+\s*['`]/g, '').replaceAll("\\'", "'")
  const tables = [...text.matchAll(/^\| Message \|.*\n\| -.*\n((?:\|.*\n)+)/gm)]
  return tables.flatMap(([, body = '']) =>
    body.split('\n').flatMap((row) => {
      const [, cell = ''] = row.split(' | ').join('|').split('|')
      const spans = [...cell.matchAll(/`([^`]+)`/g)].map(([, span = '']) => span)
      return spans.flatMap((span) =>
        span
          .split(/…|<[^>]+>|\d+|, /)
          .map((part) => part.replaceAll(/^[\s:.]+|[\s:.]+$/g, ''))
          .filter((part) => part.length > 5 && !written.includes(part))
          .map((part) => `${file} has the message ${part}, which nothing writes`),
      )
    }),
  )
}

/** Each metric of a table exists; a name that begins with `_` continues part of the one before. */
export function metricFaults(file: string, text: string, { sources }: Names): readonly string[] {
  const cells = [...text.matchAll(/^\| (`countersign_[^|]+) \|/gm)].map(([, cell = '']) => cell)
  return cells.flatMap((cell) => {
    const [first = '', ...others] = [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name)
    const parts = first.split('_')
    const starts = parts.map((_, i) => parts.slice(0, i + 1).join('_'))
    const missing = others.filter((rest) => !starts.some((at) => isMetric(at + rest, sources)))
    return [...(isMetric(first, sources) ? [] : [first]), ...missing].map(
      (name) => `${file} names the metric ${name}, which does not exist`,
    )
  })
}

/** Counters are written without `_total`, and the names of a group as a prefix and a rest. */
function isMetric(name: string, sources: string): boolean {
  if (sources.includes(`'${name.replace(/_total$/, '')}'`)) return true
  const parts = name.split('_')
  return parts.some((_, i) => {
    const [prefix, rest] = [parts.slice(0, i).join('_'), parts.slice(i).join('_')]
    return sources.includes(`\`${prefix}_\${`) && sources.includes(`gauge('${rest}'`)
  })
}
