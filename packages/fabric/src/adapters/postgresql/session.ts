import { Socket } from 'node:net'
import { setDeadline } from '../../lib/clock.ts'
import {
  type Client,
  type LoadModule,
  loadPostgresClient,
  type QueryResult,
  type Row,
} from './client.ts'

/** A database, as the configuration names it. */
export interface PostgresTarget {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
  /** Asked for each connection, so that a password that was replaced counts from the next one. */
  password(): Promise<string>
  /** Null where the server is on this machine. `ca`: PEM, or null for those of the system. */
  readonly tls: { readonly ca: string | null } | null
  readonly load?: LoadModule
}

/** Times that bound each step. A server that does not answer costs one of them. */
export interface PostgresTimes {
  readonly connectMs: number
  /** Of a read of changes. */
  readonly readMs: number
  /** Of one statement: the server ends it, and the client gives up a little later. */
  readonly statementMs: number
  /** For a lock that another commit holds. */
  readonly lockMs: number
  /** For all rows, read at the start and by a reader that fell behind. */
  readonly snapshotMs: number
}

export const POSTGRES_TIMES: PostgresTimes = {
  connectMs: 2_000,
  readMs: 1_000,
  statementMs: 3_000,
  lockMs: 2_000,
  snapshotMs: 30_000,
}

/** For the answer to arrive, after the server has ended the statement. */
const answerMs = 500
/** PostgreSQL 13 is the first with `gen_random_uuid` built in. */
const versionMin = 130_000

/** A statement that the server did not answer in time. Its effect is unknown. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer'
}

/** One connection. It is broken for good by the first answer that does not come. */
export interface Session {
  readonly isBroken: boolean
  /**
   * Identifies the line of commits of the server. It differs after a failover and a restored
   * backup, which may have lost commits.
   */
  readonly history: string
  /** Rejects with the server's error, or with `NoAnswer`, after which the session is broken. */
  query(text: string, values?: readonly unknown[], timeMs?: number): Promise<QueryResult>
  /** Warnings of the server since this was last called. */
  takeWarnings(): readonly string[]
  onNotification(listener: () => void): void
  onEnd(listener: () => void): void
  /** Ends the connection at once, also one that hangs. */
  destroy(): void
}

/**
 * Connects, and checks that the server is the primary one: a standby would return rows of the past.
 * Rejects within the times, with a message that names the server and never the password.
 */
export async function openSession(
  target: PostgresTarget,
  times: PostgresTimes = POSTGRES_TIMES,
): Promise<Session> {
  const { Client } = await loadPostgresClient(target.load)
  // Our own socket: only a socket that is destroyed ends a connection to a server that hangs.
  const socket = new Socket()
  const client = new Client(await clientOptions(target, times, socket))
  const session = new OpenSession(client, socket, times)
  try {
    await session.inTime(client.connect(), times.connectMs)
    await assertPrimary(session)
    session.history = await historyOf(session)
    return session
  } catch (cause) {
    session.destroy()
    const { host, port, database } = target
    const says = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`PostgreSQL at ${host}:${port}/${database} cannot be used: ${says}`, { cause })
  }
}

async function clientOptions(target: PostgresTarget, times: PostgresTimes, socket: Socket) {
  const { host, port, database, user, tls } = target
  return {
    ...{ host, port, database, user, password: await target.password() },
    stream: () => socket,
    // The whole certificate is verified, with the name. `host` is for addresses, of which the
    // client names none to the verification.
    ssl: tls === null ? false : { host, minVersion: 'TLSv1.2', ...caOf(tls.ca) },
    application_name: 'countersign',
    keepAlive: true,
    statement_timeout: times.statementMs,
    lock_timeout: times.lockMs,
    // A process that is paused in the middle of a commit holds up all others no longer than this.
    idle_in_transaction_session_timeout: times.statementMs,
    // Each of them can be set otherwise for the server, the database or the role.
    options: [
      '-c search_path=pg_catalog',
      '-c synchronous_commit=on',
      // Stricter ones fail for a row that another process has just changed.
      '-c default_transaction_isolation=read\\ committed',
      '-c default_transaction_read_only=off',
      '-c client_min_messages=warning',
    ].join(' '),
  }
}

const caOf = (ca: string | null): { readonly ca?: string } => (ca === null ? {} : { ca })

async function assertPrimary(session: Session): Promise<void> {
  const { rows } = await session.query(
    `SELECT pg_is_in_recovery() AS standby, current_setting('fsync') AS fsync,
            current_setting('server_version_num')::int AS version, getdatabaseencoding() AS encoding`,
  )
  const { standby, fsync, version, encoding } = rows[0] ?? {}
  if (standby !== false) throw new Error('it is a standby; name the primary server')
  if (Number(version) < versionMin) throw new Error('it is older than PostgreSQL 13')
  if (encoding !== 'UTF8') throw new Error(`its encoding is ${String(encoding)}, not UTF8`)
  if (fsync !== 'on') throw new Error('its fsync is off, so it may lose what it acknowledged')
}

/**
 * The cluster and its timeline, which each promotion raises. Some managed services do not show the
 * position in the log: there, each start of the server counts as a failover.
 */
async function historyOf(session: Pick<Session, 'query' | 'isBroken'>): Promise<string> {
  const cluster = '(SELECT system_identifier FROM pg_control_system())::text'
  const timeline = 'left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)'
  try {
    const { rows } = await session.query(`SELECT ${cluster} AS cluster, ${timeline} AS timeline`)
    return formatHistory(rows[0])
  } catch (cause) {
    if (session.isBroken || !isWithheld(cause)) throw cause
    const start = 'extract(epoch FROM pg_postmaster_start_time())::text'
    const { rows } = await session.query(`SELECT ${start} AS cluster, '00000000' AS timeline`)
    return formatHistory(rows[0])
  }
}

/** `insufficient_privilege` and `feature_not_supported`. */
function isWithheld(cause: unknown): boolean {
  const code = cause instanceof Error && 'code' in cause ? cause.code : null
  return code === '42501' || code === '0A000'
}

function formatHistory(row: Row | undefined): string {
  const { cluster, timeline } = row ?? {}
  const isRead = typeof cluster === 'string' && /^[0-9A-F]{8}$/.test(String(timeline))
  if (!isRead) throw new Error('its timeline cannot be read')
  return `${cluster}/${String(timeline)}`
}

/** Reports whether a history ended when another one of the same cluster began. */
export function isEarlierHistory(history: string, than: string): boolean {
  const [[cluster, timeline = ''], [other, present = '']] = [history.split('/'), than.split('/')]
  return cluster === other && timeline < present
}

class OpenSession implements Session {
  history = ''
  readonly #client: Client
  readonly #socket: Socket
  readonly #times: PostgresTimes
  #warnings: string[] = []
  #isBroken = false
  #onEnd: () => void = () => undefined

  constructor(client: Client, socket: Socket, times: PostgresTimes) {
    this.#client = client
    this.#socket = socket
    this.#times = times
    // Without listeners, an error of an idle connection would end the process.
    client.on('error', () => this.destroy())
    client.on('end', () => this.destroy())
    client.on('notice', ({ severity = '', message = '' }) => {
      if (severity === 'WARNING') this.#warnings.push(message)
    })
  }

  get isBroken(): boolean {
    return this.#isBroken
  }

  async query(text: string, values?: readonly unknown[], timeMs = this.#times.statementMs) {
    if (this.#isBroken) throw new Error('the connection to PostgreSQL has ended')
    const query = values === undefined ? { text } : { text, values }
    return this.inTime(this.#client.query(query), timeMs + answerMs)
  }

  takeWarnings(): readonly string[] {
    const warnings = this.#warnings
    this.#warnings = []
    return warnings
  }

  onNotification(listener: () => void): void {
    this.#client.on('notification', listener)
  }

  onEnd(listener: () => void): void {
    this.#onEnd = listener
    if (this.#isBroken) listener()
  }

  destroy(): void {
    if (this.#isBroken) return
    this.#isBroken = true
    this.#socket.destroy()
    this.#onEnd()
  }

  /** The client's own time limit leaves the connection waiting for the answer; this ends it. */
  async inTime<Result>(answer: Promise<Result>, timeMs: number): Promise<Result> {
    let cancel = (): void => undefined
    const late = new Promise<never>((_, reject) => {
      cancel = setDeadline(timeMs, () => {
        reject(new NoAnswer(`no answer within ${timeMs} ms`))
        this.destroy()
      })
    })
    try {
      return await Promise.race([answer, late])
    } finally {
      cancel()
    }
  }
}
