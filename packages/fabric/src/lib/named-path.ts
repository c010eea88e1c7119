import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readSync,
  realpathSync,
  type Stats,
  statSync,
} from 'node:fs'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'

/** A file or folder that the operator named, and that cannot be used: another place would do. */
export class UnusableFile extends Error {
  override readonly name: string = 'UnusableFile'
  /** The advice for the operator, as one sentence; empty if the message holds it. */
  readonly next: string

  constructor(message: string, next = '', options: ErrorOptions = {}) {
    super(message, options)
    this.next = next
  }
}

/** Another folder would not help against these: the machine is full, faulty or used up. */
const ofMachine: ReadonlySet<string> = new Set([
  ...['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'EMFILE', 'ENFILE', 'ENOMEM'],
])

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'the file system takes no folders there',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EEXIST: 'something else has that name',
  ENAMETOOLONG: 'the name is too long',
  ELOOP: 'its links lead in a circle',
}

/**
 * Makes a folder for this user alone, with the folders above it; nothing happens where it exists.
 * Throws `UnusableFile` where another place would do.
 *
 * Each folder is tried once. `recursive` of Node tries for ever where a file system reports that a
 * new name does not exist, as that of `/proc` does.
 */
export function makeFolder(path: string): void {
  const missing: string[] = []
  for (let at = resolve(path); !isFolder(at, path); at = dirname(at)) missing.push(at)
  for (const each of missing.reverse()) {
    try {
      mkdirSync(each, { mode: 0o700 })
    } catch (error) {
      // Of two that make it at the same time, both have it.
      if (codeOf(error) !== 'EEXIST' || !isFolder(each, path)) throw unusable(path, each, error)
    }
  }
}

function isFolder(at: string, wanted: string): boolean {
  let found: Stats | undefined
  try {
    found = statSync(at, { throwIfNoEntry: false })
  } catch (error) {
    // Below a file; the folders above it show which.
    if (codeOf(error) !== 'ENOTDIR') throw unusable(wanted, at, error)
  }
  if (found === undefined) return false
  if (found.isDirectory()) return true
  throw new UnusableFile(`${at} is not a folder${behind(wanted, at)}`, 'choose another folder')
}

function unusable(wanted: string, at: string, cause: unknown): unknown {
  const code = codeOf(cause)
  if (ofMachine.has(code)) return cause
  const reason = reasons[code] ?? code
  const message = `the folder ${at} cannot be made: ${reason}${behind(wanted, at)}`
  const next = 'choose another folder, or give this user the right to make it'
  return new UnusableFile(message, next, { cause })
}

/** The folder that was asked for, where another one is in its way. */
function behind(wanted: string, at: string): string {
  return resolve(wanted) === at ? '' : `, so ${wanted} cannot be made`
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/**
 * Reports whether a path is a folder or leads into it, links followed; either may not exist yet.
 */
export function isInside(path: string, folder: string): boolean {
  const inside = relative(realPath(folder), realPath(path))
  return inside !== '..' && !inside.startsWith(`..${sep}`)
}

function realPath(path: string): string {
  const absolute = resolve(path)
  try {
    return realpathSync(absolute)
  } catch {
    const above = dirname(absolute)
    return above === absolute ? absolute : join(realPath(above), basename(absolute))
  }
}

/**
 * The bytes of a file that the user named: a pipe as well, and never more than `bytesMax` of a
 * device without end. Throws `UnusableFile` for a longer one; errors of the system carry the path.
 */
export function readNamed(path: string, bytesMax: number): Uint8Array {
  return readBounded(path, bytesMax, constants.O_RDONLY)
}

/** The same for a file of a folder that the user named: a pipe in its place is not waited for. */
export function readInFolder(path: string, bytesMax: number): Uint8Array {
  return readBounded(path, bytesMax, constants.O_RDONLY | constants.O_NONBLOCK)
}

function readBounded(path: string, bytesMax: number, flags: number): Uint8Array {
  try {
    const descriptor = openSync(path, flags)
    try {
      return readAll(path, descriptor, bytesMax)
    } finally {
      closeSync(descriptor)
    }
  } catch (error) {
    // Of a read the system names no path.
    if (error instanceof Error && 'code' in error) Object.assign(error, { path })
    throw error
  }
}

const chunkBytes = 64 * 1024

function readAll(path: string, descriptor: number, bytesMax: number): Uint8Array {
  const chunks: Uint8Array[] = []
  let length = 0
  for (;;) {
    const chunk = new Uint8Array(chunkBytes)
    const count = readSync(descriptor, chunk, 0, chunkBytes, null)
    if (count === 0) return new Uint8Array(Buffer.concat(chunks))
    length += count
    if (length > bytesMax) {
      throw new UnusableFile(`${path} is longer than ${bytesMax} bytes`, 'name another file')
    }
    chunks.push(chunk.subarray(0, count))
  }
}
