import { CLOCKS_AND_RANDOMNESS } from './exceptions.ts'
import { excuse, within } from './imports.ts'
import { isProduct, type Source } from './source.ts'

/** The sources of time and randomness; all other code receives them as arguments. */
const SOURCES_OF_TIME_AND_CHANCE = [
  'packages/fabric/src/lib/clock.ts',
  'packages/fabric/src/lib/random.ts',
  'packages/sdk/src/lib/clock.ts',
  'packages/sdk/src/lib/random.ts',
]

const TIME_AND_CHANCE =
  /^(Date\.now|new Date|performance\.now|process\.hrtime|Math\.random|(crypto\.|webcrypto\.)?(randomBytes|randomInt|randomUUID|randomFillSync|randomFill|getRandomValues)(\(\))?)$/

interface Found {
  readonly at: string
  readonly says: string
}

function findUses(
  all: readonly Source[],
  what: RegExp,
  allowed: readonly string[],
): readonly Found[] {
  return all
    .filter(({ path }) => isProduct(path) && !allowed.some((where) => within(path, where)))
    .flatMap((source) =>
      source.uses
        .filter((use) => what.test(use.what))
        .map((use) => ({ at: source.path, says: `${source.path}:${use.line} uses ${use.what}` })),
    )
}

/** The same things under another name: `import { env } from 'node:process'`. */
function findImports(
  all: readonly Source[],
  what: RegExp,
  allowed: readonly string[],
): readonly Found[] {
  return all
    .filter(({ path }) => isProduct(path) && !allowed.some((where) => within(path, where)))
    .flatMap((source) =>
      source.imports
        .filter(({ specifier }) => what.test(specifier))
        .map(({ specifier, line }) => ({
          at: source.path,
          says: `${source.path}:${line} imports ${specifier}`,
        })),
    )
}

const says = (found: readonly Found[]): readonly string[] => found.map((one) => one.says)

const CONFIG = ['packages/fabric/src/config/']
const CLI = ['packages/fabric/src/cli/']

export const environmentFaults = (all: readonly Source[]): readonly string[] => [
  ...says(findUses(all, /^process\.env$/, CONFIG)),
  ...says(findImports(all, /^(node:)?process$/, CONFIG)),
]

export const consoleFaults = (all: readonly Source[]): readonly string[] => [
  ...says(findUses(all, /^console\./, CLI)),
  ...says(findImports(all, /^(node:)?console$/, CLI)),
]

export const clockFaults = (all: readonly Source[]): readonly string[] =>
  excuse(findUses(all, TIME_AND_CHANCE, SOURCES_OF_TIME_AND_CHANCE), CLOCKS_AND_RANDOMNESS)

/** `any` and `!` make the compiler look away. */
export const looseTypeFaults = (all: readonly Source[]): readonly string[] =>
  says(findUses(all, /^(any|!)$/, []))

export function defaultExportFaults(all: readonly Source[]): readonly string[] {
  return all
    .filter(({ path }) => path !== 'vitest.config.ts')
    .flatMap(({ path, uses }) =>
      uses
        .filter(({ what }) => what === 'export default')
        .map(({ line }) => `${path}:${line} has a default export`),
    )
}

/** `@ts-expect-error` fails when there is no error; the other two stay silent for ever. */
const SILENCES = /\/[/*]\s*@ts-(?:ignore|nocheck)/

export function silencedFaults(all: readonly Source[]): readonly string[] {
  return all.flatMap(({ path, text }) => linesMatching(path, text, SILENCES))
}

/** Only a type test may expect an error; elsewhere the type is what has to change. */
export function expectedErrorFaults(all: readonly Source[]): readonly string[] {
  const marks = new RegExp(`//\\s*@ts-expect-${'error'}`)
  return all
    .filter(({ path }) => !path.startsWith('test/types/'))
    .flatMap(({ path, text }) => linesMatching(path, text, marks))
}

export function linesMatching(file: string, text: string, pattern: RegExp): readonly string[] {
  if (!pattern.test(text)) return []
  return text
    .split('\n')
    .flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1} ${line.trim()}`] : []))
}

/** A test that does not run, or whose name is an obligation instead of a fact. */
export function testFaults(all: readonly Source[]): readonly string[] {
  const parked = /\b(?:test|it|describe)(?:\.(?:only|skip|todo|fails))\b/
  const obliged = /\b(?:test|it)(?:\.\w+)*\(\s*['"`](?:[^'"`]*\s)?should\s/
  return all
    .filter(({ path }) => path.endsWith('.test.ts'))
    .flatMap(({ path, text }) => [
      ...linesMatching(path, text, parked),
      ...linesMatching(path, text, obliged),
    ])
}
