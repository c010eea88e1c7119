import { openSqliteRecordStore } from '../adapters/sqlite/record-store.ts'
import { watchStorage } from '../adapters/sqlite/storage-fault.ts'
import type { Closer } from '../concurrency/closing.ts'
import type { RecordStore } from '../state/record-store.ts'
import type { Environment } from './stores.ts'

/** Between two deletions of expired records. */
const sweepMs = 1_000

/** Opens the records of a fabric; closing them is added to `closers`. */
export async function openRecords(
  { clock, onFatal }: Environment,
  path: string,
  closers: Closer[],
): Promise<RecordStore> {
  const fail = (cause: unknown): void => onFatal('the records cannot be kept', cause)
  const store = watchStorage(await openSqliteRecordStore({ path, clock, onFatal: fail }), fail)
  // Expired records that could not be deleted are deleted later; they are not found meanwhile.
  const timer = setInterval(() => void store.sweep().catch(() => undefined), sweepMs)
  timer.unref()
  closers.push({
    name: 'records',
    close() {
      clearInterval(timer)
      return store.close()
    },
  })
  return store
}
