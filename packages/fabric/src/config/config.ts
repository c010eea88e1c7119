import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import { parseDocument } from 'yaml'
import type { z } from 'zod'
import { type CountersEngine, placeCounters } from './counters-engine.ts'
import { placeState, type StateEngine } from './engines.ts'
import { type ConfigText, type Environment } from './read.ts'
import { type ConfigDocument, configSchema } from './schema.ts'
import { suggestion } from './suggest.ts'

/** One frozen, validated configuration; everything in it is absolute and decided. */
export type Config = Readonly<
  Omit<ConfigDocument, 'dataDir' | 'policyDir' | 'masterKey' | 'engines'> & {
    dataDir: string
    policyDir: string
    masterKey: MasterKeyPlace
    engines: { readonly state: StateEngine; readonly counters: CountersEngine }
  }
>

export type MasterKeyPlace =
  | { readonly from: 'key-file'; readonly path: string }
  | { readonly from: 'passphrase-file'; readonly path: string }
  | { readonly from: 'environment'; readonly value: string }
  | { readonly from: 'keyring'; readonly account: string }

/** Reports whether the operator asked for a process next to others. */
export function isReplica({ replica, ledger }: Pick<Config, 'replica' | 'ledger'>): boolean {
  return replica || ledger.slot !== undefined
}

/** A configuration that cannot be used. The message names the key and what to do. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

export interface ConfigOverrides {
  readonly dataDir?: string | undefined
  readonly port?: number | undefined
  readonly replica?: boolean | undefined
}

/**
 * Parses, applies safe defaults, resolves paths, freezes. Throws `ConfigError` on anything else.
 */
export function parseConfig(
  file: ConfigText | null,
  environment: Environment,
  overrides: ConfigOverrides = {},
): Config {
  const document = parseDocumentText(file)
  const dataDir = resolve(overrides.dataDir ?? environment.dataDir ?? document.dataDir)
  const listen = { ...document.listen, port: overrides.port ?? document.listen.port }
  return deepFreeze({
    ...document,
    replica: overrides.replica ?? document.replica,
    listen,
    dataDir,
    policyDir: resolve(document.policyDir ?? resolve(dataDir, 'policies')),
    ledger: {
      ...document.ledger,
      ...(document.ledger.headDir === undefined
        ? {}
        : { headDir: resolve(document.ledger.headDir) }),
    },
    masterKey: placeMasterKey(document, environment, dataDir),
    engines: {
      state: placeState(document.engines.state, environment),
      counters: placeCounters(document.engines.counters, environment, document.trustDomain),
    },
  })
}

function parseDocumentText(file: ConfigText | null): ConfigDocument {
  if (file === null) return configSchema.parse({})
  const yaml = parseDocument(file.text, { uniqueKeys: true })
  const [fault] = yaml.errors
  if (fault !== undefined) throw new ConfigError(`${file.path}: ${fault.message}`)
  const parsed = configSchema.safeParse(yaml.toJS() ?? {}, { reportInput: true })
  if (parsed.success) return parsed.data
  const faults = parsed.error.issues.flatMap((issue) => faultLines(issue, []))
  throw new ConfigError(`${file.path} cannot be used:\n${faults.join('\n')}`)
}

type Issue = z.core.$ZodIssue

/** Reports whether a fault of one alternative leaves open which of them was meant. */
function isOfAll({ code, path: [at] }: Issue): boolean {
  return at === 'from' || at === 'engine' || (code === 'invalid_type' && at === undefined)
}

/** The faults within a key or an alternative, which the issue around them does not name. */
function faultLines(issue: Issue, above: readonly PropertyKey[]): readonly string[] {
  const path = [...above, ...issue.path]
  const inner =
    issue.code === 'invalid_key'
      ? issue.issues.map((each) => ({ ...each, path: [] }))
      : issue.code === 'invalid_union'
        ? // The alternative whose `from` was meant; without one, all are at fault.
          (issue.errors.find((each) => !each.some(isOfAll)) ?? [])
        : []
  if (inner.length > 0) return inner.flatMap((each) => faultLines(each, path))
  const where = path.map(String).join('.') || '(top level)'
  return [`  ${where}: ${issue.message}${suggestion(issue, path)}`]
}

function placeMasterKey(
  document: ConfigDocument,
  environment: Environment,
  dataDir: string,
): MasterKeyPlace {
  const asked = document.masterKey
  // The account ties a key to its data folder, so that two fabrics of one user do not share one.
  const account = createHash('sha256').update(dataDir).digest('hex').slice(0, 16)
  switch (asked.from) {
    case 'key-file': {
      // Next to the data the key would be copied with every backup of what it protects.
      const path = asked.path ?? resolve(environment.userConfigDir, 'countersign', `${account}.key`)
      return { from: 'key-file', path: resolve(path) }
    }
    case 'passphrase-file':
      return { from: 'passphrase-file', path: resolve(asked.path) }
    case 'environment':
      if (environment.masterKey === null) {
        throw new ConfigError('masterKey is to come from COUNTERSIGN_MASTER_KEY, which is not set')
      }
      return { from: 'environment', value: environment.masterKey }
    case 'keyring':
      return { from: 'keyring', account }
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const inner of Object.values(value)) deepFreeze(inner)
  }
  return value
}
