import { DatabaseSync } from 'node:sqlite'

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
 * Throws when another holder is alive. Network file systems may lie about locks; the ledger is for
 * a local disk.
 */
export function lockFile(path: string, what = 'the ledger'): Unlock {
  const database = new DatabaseSync(path)
  try {
    database.exec('PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE')
  } catch (cause) {
    database.close()
    const isHeld = cause instanceof Error && cause.message.includes('locked')
    const says = isHeld ? `another process has ${what} open` : `${what} cannot be locked`
    throw new Error(says, { cause })
  }
  return () => database.close()
}
