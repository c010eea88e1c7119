import { join } from 'node:path'
import { memoryRecordStore } from '../adapters/memory/record-store.ts'
import type { PostgresDatabase } from '../adapters/postgresql/database.ts'
import { openPostgresRecordStore } from '../adapters/postgresql/record-store.ts'
import { openSqliteRecordStore } from '../adapters/sqlite/record-store.ts'
import { watchStorage } from '../adapters/sqlite/storage-fault.ts'
import type { Closer } from '../concurrency/closing.ts'
import type { Clock } from '../lib/clock.ts'
import { createTaskOwners, type TaskOwners } from '../protocols/a2a/task-guard.ts'
import { createMcpSessions, type McpSessions } from '../protocols/mcp/mcp-sessions.ts'
import { SessionPlaces } from '../routes/session-places.ts'
import type { RecordStore } from '../state/record-store.ts'
import type { Environment } from './stores.ts'

/** Between two deletions of expired records. */
const sweepMs = 1_000

/** The owners of the ids that receivers hand out, and the endpoints of sessions. */
export interface Owners {
  readonly tasks: TaskOwners
  readonly sessions: McpSessions
  readonly places: SessionPlaces
}

interface Records {
  readonly records: RecordStore
  readonly owners: Owners
}

/** Opens the records of a fabric; closing them is added to `closers`. */
export async function openRecords(
  environment: Environment,
  database: PostgresDatabase | null,
  closers: Closer[],
): Promise<Records> {
  const { clock } = environment
  const records = await openStore(environment, database)
  // Expired records that could not be deleted are deleted later; they are not found meanwhile.
  const timer = setInterval(() => void records.sweep().catch(() => undefined), sweepMs)
  timer.unref()
  const owners = createOwners(records, clock)
  closers.push({
    name: 'records',
    close() {
      clearInterval(timer)
      owners.tasks.close()
      owners.sessions.close()
      return records.close()
    },
  })
  await owners.tasks.follow()
  await owners.sessions.follow()
  return { records, owners }
}

async function openStore(
  { config, clock, onFatal }: Environment,
  database: PostgresDatabase | null,
): Promise<RecordStore> {
  if (database !== null) return openPostgresRecordStore(database)
  const path = join(config.dataDir, 'records.db')
  const fail = (cause: unknown): void => onFatal('the records cannot be kept', cause)
  return watchStorage(await openSqliteRecordStore({ path, clock, onFatal: fail }), fail)
}

/** Owners of a process that shares its ids with no other, and forgets them when it ends. */
export function memoryOwners(clock: Clock): Owners {
  return createOwners(memoryRecordStore({ clock }), clock)
}

function createOwners(store: RecordStore, clock: Clock): Owners {
  return {
    tasks: createTaskOwners({ store, clock }),
    sessions: createMcpSessions({ store, clock }),
    places: new SessionPlaces({ store, clock }),
  }
}
