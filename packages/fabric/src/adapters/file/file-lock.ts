import { DatabaseSync } from 'node:sqlite'
import { setTimeout as wait } from 'node:timers/promises'
import { systemClock } from '../../lib/clock.ts'

/** Another process holds the lock. */
export class LockHeld extends Error {
  override readonly name = 'LockHeld'
}

/** Gives back what `lockFile` took. */
export type Unlock = () => void

/**
 * Takes an exclusive lock that the operating system drops with the process, however that ends.
 *
 * Node has no flock. A file made with O_EXCL and a process id in it outlives a crash, and the
 * process that then decides that it is stale may not be the only one, or may mistake a reused id.
 * SQLite holds a real lock on the file (fcntl, LockFileEx), across processes, threads and
 * containers that share the volume, and within one process as well. It writes nothing here: the
 * file stays empty.
 *
 * Throws when another holder is alive. Network file systems may lie about locks; a data folder is
 * for a local disk.
 */
export function lockFile(path: string, what = 'the ledger'): Unlock {
  const unlock = tryLock(path, what)
  if (unlock === null) throw new LockHeld(`another process has ${what} open`)
  return unlock
}

/** Longer than any holder needs, of which each does one thing. */
const waitMsMax = 10_000
const pauseMs = 10

/** The same lock, for which others are waited. Rejects when they hold it for too long. */
export async function lockWhenFree(path: string): Promise<Unlock> {
  const endsAt = systemClock.monotonic() + waitMsMax
  for (;;) {
    const unlock = tryLock(path, path)
    if (unlock !== null) return unlock
    if (systemClock.monotonic() > endsAt) {
      const fault = `${path} has been locked by another process for ${waitMsMax / 1000} seconds`
      throw new Error(`${fault}; look for a process that is stopped`)
    }
    await wait(pauseMs)
  }
}

/** Runs `work` under the lock, for which others are waited. */
export async function whileLocked<Result>(
  path: string,
  work: () => Promise<Result>,
): Promise<Result> {
  const unlock = await lockWhenFree(path)
  try {
    return await work()
  } finally {
    unlock()
  }
}

/**
 * The same lock, shared: any number of processes hold it at a time, and `lockFile` fails meanwhile.
 * Throws when a holder has it alone.
 */
export function shareLock(path: string, what: string): Unlock {
  const unlock = tryLock(path, what, 'BEGIN; SELECT * FROM sqlite_schema')
  if (unlock === null) throw new LockHeld(`another process has ${what} open`)
  return unlock
}

/** Null while another holder is alive. */
function tryLock(path: string, what: string, begin = 'BEGIN EXCLUSIVE'): Unlock | null {
  const database = new DatabaseSync(path)
  try {
    database.exec(`PRAGMA busy_timeout = 0; ${begin}`)
  } catch (cause) {
    database.close()
    if (cause instanceof Error && cause.message.includes('locked')) return null
    throw new Error(`${what} cannot be locked`, { cause })
  }
  return () => database.close()
}
