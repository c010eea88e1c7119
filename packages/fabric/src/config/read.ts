import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { resolve } from 'node:path'
import { readNamed } from '../lib/named-path.ts'

/** Every variable that the fabric reads, and the only place that reads them. */
export interface Environment {
  /** COUNTERSIGN_CONFIG: path of the configuration file. */
  readonly configPath: string | null
  /** COUNTERSIGN_DATA: overrides `dataDir`. */
  readonly dataDir: string | null
  /** COUNTERSIGN_MASTER_KEY: 32 bytes in base64, for `masterKey: { from: environment }`. */
  readonly masterKey: string | null
  /** COUNTERSIGN_STATE_PASSWORD: of the database that `engines.state` names. */
  readonly statePassword?: string | null
  /** COUNTERSIGN_COUNTERS_PASSWORD: of the server that `engines.counters` names. */
  readonly countersPassword?: string | null
  /** NO_COLOR or a dumb terminal: no colours. */
  readonly colours: boolean
  /** The folder of a user's own configuration (XDG_CONFIG_HOME, or ~/.config). */
  readonly userConfigDir: string
  /** npm_command: whether npm or npx started this process. */
  readonly startedByNpm?: boolean
  /**
   * NOTIFY_SOCKET and WATCHDOG_USEC, through which systemd is notified of the state of the process.
   */
  readonly supervisor: SupervisorEnvironment
}

export interface SupervisorEnvironment {
  readonly notifySocket: string | null
  /** Time that systemd waits for a sign of life, in milliseconds. */
  readonly watchdogMs: number | null
}

/** An empty variable counts as none: as a path it would be the current folder. */
export function readEnvironment(): Environment {
  const { env } = process
  const masterKey = env['COUNTERSIGN_MASTER_KEY'] ?? null
  // Child processes and crash reports inherit the environment; the key must not travel with it.
  delete env['COUNTERSIGN_MASTER_KEY']
  const statePassword = env['COUNTERSIGN_STATE_PASSWORD'] ?? null
  delete env['COUNTERSIGN_STATE_PASSWORD']
  const countersPassword = env['COUNTERSIGN_COUNTERS_PASSWORD'] ?? null
  delete env['COUNTERSIGN_COUNTERS_PASSWORD']
  return {
    configPath: env['COUNTERSIGN_CONFIG'] || null,
    dataDir: env['COUNTERSIGN_DATA'] || null,
    masterKey,
    statePassword,
    countersPassword,
    colours: env['NO_COLOR'] === undefined && env['TERM'] !== 'dumb',
    userConfigDir: env['XDG_CONFIG_HOME'] || resolve(homedir(), '.config'),
    startedByNpm: env['npm_command'] !== undefined,
    supervisor: readSupervisor(env),
  }
}

/** As sd_watchdog_enabled(3) reads it: a watchdog may be meant for another process. */
function readSupervisor(env: NodeJS.ProcessEnv): SupervisorEnvironment {
  const { NOTIFY_SOCKET: notifySocket, WATCHDOG_USEC: microseconds, WATCHDOG_PID: pid } = env
  const isOurs = pid === undefined || pid === String(process.pid)
  const isNumber = microseconds !== undefined && /^\d{1,15}$/.test(microseconds)
  const watchdogMs = isOurs && isNumber ? Number(microseconds) / 1000 : 0
  return { notifySocket: notifySocket ?? null, watchdogMs: watchdogMs > 0 ? watchdogMs : null }
}

/** Thousands of agents. */
const configBytesMax = 16 * 1024 * 1024

/** The text of the configuration file, or null where none was named and none stands here. */
export function readConfigText(environment: Environment, named: string | null): ConfigText | null {
  const asked = named ?? environment.configPath
  const path = resolve(asked ?? 'countersign.yaml')
  if (asked === null && !existsSync(path)) return null
  return { path, text: Buffer.from(readNamed(path, configBytesMax)).toString('utf8') }
}

export interface ConfigText {
  readonly path: string
  readonly text: string
}
