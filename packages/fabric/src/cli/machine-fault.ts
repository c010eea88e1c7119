import { accessSync, constants, statfsSync } from 'node:fs'
import { type ExitName } from './exit-codes.ts'
import { Failure } from './failure.ts'

/**
 * Faults of the machine rather than of the program, by what Node and SQLite write of them: the
 * threads that hold files send the text of an error, and SQLite has words for every code.
 */
const machineFaults: readonly {
  readonly says: RegExp
  readonly means: string
  readonly next: string
}[] = [
  {
    says: /ENOSPC|EDQUOT|disk is full|disk is nearly full|ledger\.freeBytes/,
    means: 'the disk is full',
    next: 'free at least 512 MiB on it, then start again; nothing that was acknowledged is lost',
  },
  {
    says: /EROFS|readonly database|read-only file system/i,
    means: 'the file system is read-only',
    next: 'look for the cause in the kernel log, mount it writable, then start again',
  },
  {
    says: /EMFILE|ENFILE|too many open files/i,
    means: 'there are no file descriptors left',
    next: 'raise the limit of open files (LimitNOFILE= in the unit), then start again',
  },
  {
    says: /\bEIO\b|disk I\/O error/,
    means: 'the disk reports an error',
    next: 'look at the disk and the kernel log, then start again; the next start checks what it finds',
  },
  {
    says: /ENOMEM|ERR_WORKER_OUT_OF_MEMORY|ENOBUFS|EAGAIN|ERR_WORKER_INIT_FAILED/,
    means: 'the machine gives no more memory or threads',
    next: 'give the process more, or lower `limits`, then start again',
  },
  {
    says: /not a database|disk image is malformed/,
    means: 'a database is damaged',
    next: 'restore it from a backup; docs/operate/recover.md lists the files that belong together',
  },
  {
    says: /database is locked/,
    means: 'another process holds a database',
    next: 'stop the other process, then start again',
  },
  {
    says: /ENOENT|ENOTDIR|ESTALE|of the data folder was removed/,
    means: 'files of the data folder are gone',
    next: 'stop what removes them, restore the folder from a backup, then start again',
  },
  {
    says: /EACCES|EPERM/,
    means: 'this user may not use a file of the data folder',
    next: 'give the folder back to the user that runs the fabric, then start again',
  },
]

export interface WhatFailed {
  readonly what: string
  readonly dataDir: string
}

/** A Failure that states what the operator can do about the machine; null for any other error. */
export function machineFailure(
  exit: ExitName,
  { what, dataDir }: WhatFailed,
  cause: unknown,
): Failure | null {
  const text = textOf(cause)
  const seen = machineFaults.some(({ says }) => says.test(text)) || ofDatabase.test(text)
  const known = seen ? `${folderFault(dataDir)} ${text}` : text
  const fault = machineFaults.find(({ says }) => says.test(known))
  return fault === undefined
    ? null
    : new Failure(exit, `${what}: ${fault.means} (${text})`, fault.next)
}

/** SQLite has these few words for a full disk and for a read-only one as well. */
const ofDatabase = /unable to open database file/

/** The code of what can be seen to be wrong with the folder itself, or nothing. */
function folderFault(dataDir: string): string {
  try {
    accessSync(dataDir, constants.W_OK)
    const { bavail, bsize } = statfsSync(dataDir)
    return bavail * bsize < fullBytes ? 'ENOSPC' : ''
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EROFS' ? 'EROFS' : ''
  }
}

/** Less than one write of a database takes. */
const fullBytes = 1024 * 1024

/** The messages of an error and of its causes. */
function textOf(error: unknown): string {
  const texts: string[] = []
  let at = error
  while (at instanceof Error && texts.length < 5) {
    texts.push(at.message)
    at = at.cause
  }
  if (texts.length === 0) texts.push(String(error))
  return texts.join(': ')
}

/**
 * Returns the reason why a running server has to end. An error that the machine is not to blame for
 * keeps its stack.
 */
export function brokenFailure(failed: WhatFailed, cause: unknown): Failure {
  const known = machineFailure('broken', failed, cause)
  if (known !== null) return known
  const text = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
  const next = 'start again, and please report the text above'
  return new Failure('broken', `${failed.what}: ${text}`, next)
}
