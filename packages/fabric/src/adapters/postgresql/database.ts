import { prepareSchema } from './schema.ts'
import {
  openSession,
  POSTGRES_TIMES,
  type PostgresTarget,
  type PostgresTimes,
  type Session,
} from './session.ts'
import { RECORD_SESSIONS_MAX, SECRET_SESSIONS_MAX, type SessionPool, Sessions } from './sessions.ts'

export interface PostgresOptions {
  readonly target: PostgresTarget
  /** A schema of its own, made when absent. */
  readonly schema: string
  readonly times?: PostgresTimes
}

/** A schema of a PostgreSQL database, which any number of processes share. */
export interface PostgresDatabase {
  readonly schema: string
  readonly times: PostgresTimes
  readonly sessions: SessionPool
  /** The share of the same connections that records use. */
  readonly recordSessions: SessionPool
  /** The share of the same connections that secrets use. */
  readonly secretSessions: SessionPool
  /**
   * As `Session.history`, of the newest server that was used. Set before any call uses a connection
   * to it.
   */
  history(): string
  /** A connection that is not one of the sessions, for its owner to destroy. */
  open(): Promise<Session>
  close(): Promise<void>
}

/** Rejects when the server cannot be reached, is a standby, or holds data of another format. */
export async function openPostgresDatabase(options: PostgresOptions): Promise<PostgresDatabase> {
  const { target, schema, times = POSTGRES_TIMES } = options
  const open = () => openSession(target, times)
  const sessions = new Sessions(open, times.connectMs)
  try {
    await sessions.use((session) => prepareSchema(session, schema))
  } catch (cause) {
    sessions.close()
    throw cause
  }
  const recordSessions = sessions.share(RECORD_SESSIONS_MAX)
  const secretSessions = sessions.share(SECRET_SESSIONS_MAX)
  const pools = { sessions, recordSessions, secretSessions }
  const history = () => sessions.history
  return { schema, times, ...pools, history, open, close: async () => sessions.close() }
}
