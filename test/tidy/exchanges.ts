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

/** The stages, and what their decisions are made of. Transports call the steps that run them. */
const DECIDES =
  'authenticate|identify|headOf|authorize|inspect|approve|recordIntent|policyRequest|sealedMayPass|opensTasks|hasNewObligations'
const importsDecider = new RegExp(
  `import\\s*\\{(?:[^}]*[,\\s])?(?<!type )(${DECIDES})[,\\s][^}]*\\}\\s*from\\s*'[^']*/pipeline/`,
)
const asksPolicy = /\bdecide\s*\(|\.policy\(\)\.decide\b/

/** Transports decode, call the steps of the pipeline, and encode; what they decide, it decides. */
export function decisionFaults(all: readonly Source[]): readonly string[] {
  return all
    .filter(({ path }) => isProduct(path) && path.startsWith('packages/fabric/src/transports/'))
    .flatMap(({ path, text }) => {
      const decider = importsDecider.exec(text)?.[1]
      const imported = decider === undefined ? [] : [`${path} imports ${decider}, which decides`]
      return [...imported, ...linesMatching(path, text, asksPolicy)]
    })
}
