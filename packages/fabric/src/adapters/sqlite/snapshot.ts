import { closeSync, fsyncSync, openSync, statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

/** Left free on the disk by a copy: as much as the ledger warns about. */
const freeBytesLeft = 1024 * 1024 * 1024

/**
 * Copies an open database into a new file, which is not synced. Returns the fault, or null. The
 * thread, and with it every other use of the connection, waits; no transaction may be open.
 */
export function vacuumInto(database: DatabaseSync, path: string): string | null {
  try {
    const bytes = pragma(database, 'page_count') * pragma(database, 'page_size')
    const { bavail, bsize } = statfsSync(dirname(path))
    if (bavail * bsize < bytes + freeBytesLeft) {
      return `a copy of ${bytes} bytes would leave less than ${freeBytesLeft} bytes free`
    }
    database.prepare('VACUUM INTO ?').run(path)
    return null
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

function pragma(database: DatabaseSync, name: string): number {
  return Number(database.prepare(`PRAGMA ${name}`).get()?.[name])
}

/**
 * Copies a database that other processes may write meanwhile, as it was at one of their commits,
 * into a new file, which is synced.
 */
export function copyDatabase(path: string, to: string): void {
  const database = new DatabaseSync(path, { timeout: busyMsMax })
  try {
    // In one read, which writers of a write-ahead log do not wait for.
    database.prepare('VACUUM INTO ?').run(to)
  } finally {
    database.close()
  }
  const descriptor = openSync(to, 'r+')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** Other processes lock the file for one commit each. */
const busyMsMax = 10_000
