import path from 'node:path'
import { linesMatching } from './uses.ts'

/** Values that a text must not contain, whichever file it is in. */
export interface Machine {
  /** The folder that holds the repository here; `null` where it is too plain to look for. */
  readonly parent: string | null
  /** The host that this machine's npm asks; `null` when it is not set. */
  readonly registry: string | null
}

/** Reads the machine from the environment of `npm test`, so that no such name stands in a file. */
export function thisMachine(
  root: string,
  env: Readonly<Record<string, string | undefined>>,
): Machine {
  const parent = path.dirname(root)
  const registry = env['npm_config_registry']
  return {
    parent: ['/', '/tmp', '/home', '/var'].includes(parent) ? null : `${parent}/`,
    registry: registry === undefined ? null : new URL(registry).hostname,
  }
}

// Put together here, so that this file does not fail its own test.
const REGISTRY = new RegExp(`\\bregistry[.-][a-z0-9.-]+\\.[a-z]{2,}|"resol${'ved'}": "http`)
const HOMES = new RegExp(
  `(?:^|[\\s"'\`(=:])(?:/(?:ho${'me'}|Use${'rs'})/[a-z]|/ro${'ot'}/|[A-Z]:\\\\\\\\?Users)`,
)

export function machineFaults(file: string, text: string, machine: Machine): readonly string[] {
  const { parent, registry } = machine
  const own = parent === null ? null : new RegExp(`(?<![\\w./-])${escape(parent)}[\\w.-]`)
  return [
    ...linesMatching(file, text, REGISTRY),
    ...linesMatching(file, text, HOMES),
    ...(own === null ? [] : linesMatching(file, text, own)),
    ...(registry === null || registry === 'localhost'
      ? []
      : linesMatching(file, text, new RegExp(escape(registry)))),
  ].map((line) => line.slice(0, 200))
}

/** People are not named: no author tags, and no addresses outside the example domains. */
const AUTHOR = new RegExp(
  `@aut${'hor'}\\b|\\bCopyright (?:\\(c\\) )?\\d{4}(?! The Countersign [Aa]uthors)`,
)
const ADDRESS =
  /[\w.+-]+@(?!(?:[\w-]+\.)*(?:example|test|invalid|localhost)\b)(?:[a-z0-9-]+\.)+[a-z]{2,}\b/i

export function personFaults(file: string, text: string): readonly string[] {
  const authored = linesMatching(file, text, AUTHOR)
  // In sources an address is a redaction's sample; in prose and manifests it is a person's.
  if (!/\.(md|json)$|^(LICENSE|NOTICE)$/.test(file)) return authored
  return [...authored, ...linesMatching(file, text, ADDRESS)]
}

/** Work that is left has a number where it is discussed: `TODO(#12)`. */
const LEFTOVER = new RegExp(`\\b(?:TO${'DO'}|FIX${'ME'}|HA${'CK'})\\b(?!\\(#\\d+\\))`)

export function leftoverFaults(file: string, text: string): readonly string[] {
  return linesMatching(file, file.endsWith('.md') ? text.replace(/`[^`\n]*`/g, '') : text, LEFTOVER)
}

interface Manifest {
  readonly name: string
  readonly version: string
  readonly dependencies?: Readonly<Record<string, string>>
}

/** One version for the repository, and exact versions between its packages. */
export function versionFaults(manifests: readonly Manifest[]): readonly string[] {
  const [first] = manifests
  const names = new Set(manifests.map(({ name }) => name))
  return manifests.flatMap(({ name, version, dependencies = {} }) => [
    ...(version === first?.version
      ? []
      : [`${name} is ${version}, ${first?.name} is ${first?.version}`]),
    ...Object.entries(dependencies)
      .filter(([other, wanted]) => names.has(other) && wanted !== first?.version)
      .map(([other, wanted]) => `${name} wants ${other} ${wanted}, not ${first?.version}`),
  ])
}

interface LockedPackage {
  readonly integrity?: string
  readonly hasInstallScript?: boolean
  readonly link?: boolean
}

/**
 * A compromised registry can replace a package that the lock file does not pin: each installed
 * package has a hash, and none runs code of its own that would fetch more.
 */
export function lockFaults(packages: Readonly<Record<string, LockedPackage>>): readonly string[] {
  return Object.entries(packages)
    .filter(([place, { link }]) => place.includes('node_modules/') && link !== true)
    .flatMap(([place, { integrity, hasInstallScript }]) => [
      ...(integrity === undefined ? [`${place} has no integrity hash`] : []),
      ...(hasInstallScript === true ? [`${place} runs an install script`] : []),
    ])
}

const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
