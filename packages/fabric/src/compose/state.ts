import type { PostgresDatabase } from '../adapters/postgresql/database.ts'
import { StateStream } from '../state/state-stream.ts'
import { openConfiguredState } from './state-engine.ts'
import type { Environment } from './stores.ts'

/** Opens the store of authority, in `database` if it is shared, and reads all of it. */
export async function openState(
  environment: Environment,
  database: PostgresDatabase | null,
): Promise<StateStream> {
  const store = await openConfiguredState(environment, database)
  try {
    return await StateStream.open({
      ...{ store, clock: environment.clock },
      onFatal: (cause) => environment.onFatal('the state cannot be followed', cause),
      onReadFault: (cause) => environment.log('state not read', { error: String(cause) }),
      onReadAgain: () => environment.log('state read again'),
      onHistory: () =>
        environment.log('commits of the state may be lost', {
          reason: 'PostgreSQL failed over: repeat the revocations of the last moments before it',
        }),
    })
  } catch (cause) {
    await store.close()
    throw cause
  }
}
