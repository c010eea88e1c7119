import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { resolve } from 'node:path'

/** Every variable that the fabric reads, and the only place that reads them. */
export interface Environment {
  /** COUNTERSIGN_CONFIG: path of the configuration file. */
  readonly configPath: string | null
  /** COUNTERSIGN_DATA: overrides `dataDir`. */
  readonly dataDir: string | null
  /** COUNTERSIGN_MASTER_KEY: 32 bytes in base64, for `masterKey: { from: environment }`. */
  readonly masterKey: string | null
  /** NO_COLOR or a dumb terminal: no colours. */
  readonly colours: boolean
  /** Where a user's own configuration lives (XDG_CONFIG_HOME, or ~/.config). */
  readonly userConfigDir: string
}

export function readEnvironment(): Environment {
  const { env } = process
  const masterKey = env['COUNTERSIGN_MASTER_KEY'] ?? null
  // Child processes and crash reports inherit the environment; the key must not travel with it.
  delete env['COUNTERSIGN_MASTER_KEY']
  return {
    configPath: env['COUNTERSIGN_CONFIG'] ?? null,
    dataDir: env['COUNTERSIGN_DATA'] ?? null,
    masterKey,
    colours: env['NO_COLOR'] === undefined && env['TERM'] !== 'dumb',
    userConfigDir: env['XDG_CONFIG_HOME'] ?? resolve(homedir(), '.config'),
  }
}

/** The text of the configuration file, or null where none was named and none stands here. */
export function readConfigText(environment: Environment, named: string | null): ConfigText | null {
  const asked = named ?? environment.configPath
  const path = resolve(asked ?? 'countersign.yaml')
  if (asked === null && !existsSync(path)) return null
  return { path, text: readFileSync(path, 'utf8') }
}

export interface ConfigText {
  readonly path: string
  readonly text: string
}
