import { join } from 'node:path'
import { readPrivateFile } from '../adapters/file/secret-private-file.ts'
import { openPostgresDatabase, type PostgresDatabase } from '../adapters/postgresql/database.ts'
import type { PostgresTarget } from '../adapters/postgresql/session.ts'
import { openPostgresStateStore } from '../adapters/postgresql/state-store.ts'
import { openSqliteStateStore } from '../adapters/sqlite/state-store.ts'
import { watchStorage } from '../adapters/sqlite/storage-fault.ts'
import type { PasswordPlace, StateEngine } from '../config/engines.ts'
import { readNamed } from '../lib/named-path.ts'
import type { StateStore } from '../state/state-store.ts'
import type { Environment } from './stores.ts'

type PostgresEngine = Extract<StateEngine, { readonly engine: 'postgresql' }>

/** All authorities of an operating system together are smaller. */
const caBytesMax = 4 * 1024 * 1024

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
  const trusted = ca === null ? null : Buffer.from(readNamed(ca, caBytesMax)).toString('utf8')
  return {
    ...{ host, port, database, user },
    password: () => readPassword(state.password),
    tls: tls ? { ca: trusted } : null,
  }
}

async function readPassword(place: PasswordPlace): Promise<string> {
  switch (place.from) {
    case 'nowhere':
      return ''
    case 'environment':
      return place.value
    case 'file': {
      const bytes = await readPrivateFile(place.path)
      if (bytes === null) throw new Error(`${place.path} does not exist`)
      // Editors end a file with a newline that is not part of the password.
      return Buffer.from(bytes)
        .toString('utf8')
        .replace(/\r?\n$/, '')
    }
  }
}
