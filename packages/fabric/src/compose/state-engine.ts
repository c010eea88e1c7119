import { join } from 'node:path'
import { openPostgresDatabase, type PostgresDatabase } from '../adapters/postgresql/database.ts'
import type { PostgresTarget } from '../adapters/postgresql/session.ts'
import { openPostgresStateStore } from '../adapters/postgresql/state-store.ts'
import { openSqliteStateStore } from '../adapters/sqlite/state-store.ts'
import { watchStorage } from '../adapters/sqlite/storage-fault.ts'
import type { StateEngine } from '../config/engines.ts'
import type { StateStore } from '../state/state-store.ts'
import { readCa, readPassword } from './engine-files.ts'
import type { Environment } from './stores.ts'

type PostgresEngine = Extract<StateEngine, { readonly engine: 'postgresql' }>

/** Opens the database that the fabric shares with others; null if it shares none. */
export async function openSharedDatabase({
  config,
}: Pick<Environment, 'config'>): Promise<PostgresDatabase | null> {
  const { state } = config.engines
  if (state.engine === 'sqlite') return null
  return openPostgresDatabase({ target: await targetOfState(state), schema: state.schema })
}

/** Opens the store that the configuration chooses. */
export async function openConfiguredState(
  { config, random, onFatal }: Environment,
  database: PostgresDatabase | null,
): Promise<StateStore> {
  if (database !== null) return openPostgresStateStore(database, { random })
  return watchStorage(await openSqliteStateStore(join(config.dataDir, 'state.db')), (cause) =>
    onFatal('the state cannot be kept', cause),
  )
}

export async function targetOfState(state: PostgresEngine): Promise<PostgresTarget> {
  const { host, port, database, user, tls, ca } = state
  return {
    ...{ host, port, database, user },
    password: () => readPassword(state.password),
    tls: tls ? { ca: readCa(ca) } : null,
  }
}
