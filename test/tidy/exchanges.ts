import { resolveImport } from './imports.ts'
import { isProduct, type Source } from './source.ts'
import { linesMatching } from './uses.ts'

const pipeline = 'packages/fabric/src/pipeline'
/** The one file that makes exchanges, for the stages. */
const maker = `${pipeline}/exchange.ts`

/** The files of the stages. No other file makes an exchange. */
const STAGES: ReadonlySet<string> = new Set(
  ['authenticate', 'authorize', 'inspect', 'approve', 'record'].map(
    (stage) => `${pipeline}/${stage}.ts`,
  ),
)

/**
 * Forging an exchange does not compile, so these are the ways round the compiler: a cast, and a
 * second file that makes them.
 */
export function stageFaults(all: readonly Source[]): readonly string[] {
  return all
    .filter(({ path }) => isProduct(path) && path !== maker)
    .flatMap(({ path, text, imports }) => {
      const made = imports.filter(
        ({ specifier, typeOnly }) => !typeOnly && resolveImport(path, specifier) === maker,
      )
      const makes = STAGES.has(path)
        ? []
        : made.map(({ line }) => `${path}:${line} makes exchanges, which only a stage may`)
      return [...makes, ...linesMatching(path, text, /\bas\s+(?:unknown\s+as\s+)?Exchange\b/)]
    })
}
