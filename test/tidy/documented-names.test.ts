import type { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import { OPERATIONS } from '../../packages/fabric/src/admin/operations.ts'
import type { CliContext } from '../../packages/fabric/src/cli/context.ts'
import { EXIT_CODES } from '../../packages/fabric/src/cli/exit-codes.ts'
import { createTerminal } from '../../packages/fabric/src/cli/output/terminal.ts'
import { createProgram } from '../../packages/fabric/src/cli/program.ts'
import { readEnvironment } from '../../packages/fabric/src/config/read.ts'
import { configJsonSchema } from '../../packages/fabric/src/config/schema.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { ANNOTATIONS } from '../../packages/fabric/src/policy/obligations.ts'
import { POLICY_SCHEMA } from '../../packages/fabric/src/policy/schema.ts'
import {
  annotationFaults,
  type CommandShape,
  commandFaults,
  commandsWithoutRow,
  commandTableFaults,
  dottedNameFaults,
  messageFaults,
  metricFaults,
  type Names,
  optionFaults,
  variableFaults,
} from './documented-names.ts'
import { documents } from './documents.ts'
import { product, read } from './source.ts'

function context(): CliContext {
  const screen = { write: () => undefined }
  return {
    terminal: createTerminal({
      stdout: screen,
      stderr: screen,
      colours: false,
      clock: systemClock,
    }),
    environment: readEnvironment(),
    clock: systemClock,
    random: systemRandom,
    end: () => undefined,
  }
}

function shapeOf(command: Command): CommandShape {
  return {
    name: command.name(),
    commands: command.commands.map(shapeOf),
    options: new Set([...command.options.flatMap(({ long }) => long ?? []), '--help']),
  }
}

/** Dotted paths of every key, through alternatives and lists. */
function keysOf(node: unknown, at = ''): readonly string[] {
  if (typeof node !== 'object' || node === null) return []
  const {
    properties = {},
    additionalProperties,
    oneOf = [],
    anyOf = [],
  } = node as {
    readonly properties?: Readonly<Record<string, unknown>>
    readonly additionalProperties?: unknown
    readonly oneOf?: readonly unknown[]
    readonly anyOf?: readonly unknown[]
  }
  return [
    ...(at === '' ? [] : [at]),
    ...Object.entries(properties).flatMap(([key, inner]) =>
      keysOf(inner, at === '' ? key : `${at}.${key}`),
    ),
    ...keysOf(additionalProperties, `${at}.<name>`),
    ...[...oneOf, ...anyOf].flatMap((inner) => keysOf(inner, at)),
  ]
}

const limits = [...read('docs/operate/limits.md').matchAll(/^\| (`[^|]+) \|/gm)].flatMap(
  ([, cell = '']) => cell.split(', ').map((name) => name.slice(1, -1)),
)

const names: Names = {
  program: shapeOf(createProgram(context())),
  settings: new Set([...keysOf(configJsonSchema()), ...limits]),
  operations: new Set(Object.keys(OPERATIONS)),
  annotations: new Set(ANNOTATIONS),
  sources: product()
    .map(({ text }) => text)
    .join('\n'),
}

/**
 * The guide of the SDK names members of objects, and the page of figures those of the benchmarks.
 */
const hasOtherNames = (file: string): boolean =>
  /^(?:docs\/sdk|docs\/performance|packages\/sdk\/README)\.md$/.test(file)
/** The changelog also names settings and commands that are gone. */
const files = documents().filter((file) => file !== 'CHANGELOG.md')

function expectNone(faults: readonly string[]): void {
  expect(faults.length === 0 ? '' : `\n${faults.join('\n')}\n`).toBe('')
}

describe('documents', () => {
  test('every command and option that a document names exists', () => {
    expectNone(files.flatMap((file) => commandFaults(file, read(file), names)))
    expectNone(files.flatMap((file) => optionFaults(file, read(file), names)))
  })

  test('the tables of commands have the options of each command, and every command', () => {
    const page = read('docs/cli.md')
    expectNone(commandTableFaults('docs/cli.md', page, names))
    expectNone(commandsWithoutRow(page, names))
  })

  test('every setting, operation and fact that a document names exists', () => {
    expectNone(
      files
        .filter((file) => !hasOtherNames(file))
        .flatMap((file) => dottedNameFaults(file, read(file), names)),
    )
  })

  test('every annotation and environment variable that a document names exists', () => {
    expectNone(files.flatMap((file) => annotationFaults(file, read(file), names)))
    expectNone(files.flatMap((file) => variableFaults(file, read(file), names)))
  })

  test('every message that a document explains is written by the product', () => {
    expectNone(files.flatMap((file) => messageFaults(file, read(file), names)))
  })

  test('every metric that a document names exists', () => {
    expectNone(files.flatMap((file) => metricFaults(file, read(file), names)))
  })

  test('docs/policy.md explains each field of the context, and no others', () => {
    const [, members = ''] = /type \w+ = \{([^}]+)\}/.exec(POLICY_SCHEMA) ?? []
    const fields = [...members.matchAll(/(\w+):/g)].map(([, field = '']) => field)
    const rows = [...read('docs/policy.md').matchAll(/^\| `context\.(\w+)` \|/gm)]
    expect(fields.length).toBeGreaterThan(10)
    expect(rows.map(([, field = '']) => field).toSorted()).toEqual(fields.toSorted())
  })

  test('docs/cli.md gives each exit code in the words of the program', () => {
    const page = read('docs/cli.md')
    const rows = new Map(
      [...page.matchAll(/^\| (\d+) \| (.+) \|$/gm)].map(([, code, means = '']) => [
        Number(code),
        means.replaceAll(/ \(\[[^)]*\)\)/g, ''),
      ]),
    )
    expect([...rows]).toEqual(EXIT_CODES.map(({ code, means }) => [code, means]))
  })
})

describe('planted names', () => {
  const faultsOf = (rule: typeof commandFaults, text: string) => rule('a.md', text, names)

  test.each([
    ['a command', commandFaults, '`countersign gone`'],
    ['a command of a group', commandFaults, '`countersign agent gone x`'],
    ['a command in a block', commandFaults, '```sh\nnpm run countersign -- gone\n```'],
    ['an option of a command', commandFaults, '`countersign up --gone`'],
    ['an option of another command', commandFaults, '`countersign status --demo`'],
    ['an option alone', optionFaults, '`--gone <x>`'],
    ['a row', commandTableFaults, '| Command | Effect |\n| --- | --- |\n| `agent gone` | x |\n'],
    [
      'an option in a row',
      commandTableFaults,
      '| Command | Effect |\n| --- | --- |\n| `status` | `--gone` |\n',
    ],
    ['a setting', dottedNameFaults, '`limits.gone`'],
    ['an operation', dottedNameFaults, '`agent.gone`'],
    ['an annotation', annotationFaults, '`@gone("x")`'],
    ['an annotation in a block', annotationFaults, '```cedar\n@gone("x")\n```'],
    [
      'a message',
      messageFaults,
      '| Message | Action |\n| --- | --- |\n| `port … is in no use` | x |\n',
    ],
    ['a metric', metricFaults, '| `countersign_gone_total` | | x |'],
    ['a metric of a group', metricFaults, '| `countersign_ledger_entries`, `_gone` | | x |'],
    ['a variable', variableFaults, 'set COUNTERSIGN_GONE'],
  ])('%s that does not exist', (_, rule, text) => {
    expect(faultsOf(rule, text)).toHaveLength(1)
  })

  test('a command without a row', () => {
    expect(commandsWithoutRow('', names).length).toBeGreaterThan(20)
  })

  test.each([
    [commandFaults, '`countersign up --port 0 --data x`, `countersign agent enroll <name>`'],
    [
      commandTableFaults,
      '| Command | Effect |\n| --- | --- |\n| `agent revoke <name>`, `restore` | `--reason` |\n',
    ],
    [dottedNameFaults, '`limits.bodyBytes`, `agent.list`, `policy.version`, `log.level`'],
    [annotationFaults, '`@mask("card")`, `@path`'],
    [metricFaults, '| `countersign_requests_total`, `_entries_total`, `_ledger_entries` | | x |'],
    [variableFaults, '`COUNTERSIGN_DATA`'],
    [messageFaults, '| Message | Action |\n| --- | --- |\n| `port … is in use` | x |\n'],
  ])('names that exist', (rule, text) => {
    expect(faultsOf(rule, text)).toEqual([])
  })
})
