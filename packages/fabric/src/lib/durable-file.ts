import * as fs from 'node:fs'
import { promisify } from 'node:util'

/** An open file. Every method rejects on an error of the system, and nothing is ever retried. */
export interface DurableFile {
  /** Fewer than `length` bytes only where the file ends. */
  read(position: number, length: number): Promise<Uint8Array>
  /** All bytes or a rejection; they may be lost until `sync` resolves. */
  write(position: number, bytes: Uint8Array): Promise<void>
  /** Resolves once everything written to this file, and its length, would survive a power loss. */
  sync(): Promise<void>
  size(): Promise<number>
  close(): Promise<void>
}

/**
 * What a durable store asks of a file system. The harness in `tools/crash` puts faults and a model
 * of the page cache behind it. A name that was created, renamed or removed may come back, or be
 * gone, after a power loss until `syncDirectory` of its directory resolves.
 */
export interface FileLayer {
  /** `create` makes or empties the file; the other two give null where there is none. */
  open(path: string, mode: 'create'): Promise<DurableFile>
  open(path: string, mode: 'read' | 'update'): Promise<DurableFile | null>
  rename(from: string, to: string): Promise<void>
  /** A file or an empty directory; nothing happens where there is none. */
  remove(path: string): Promise<void>
  /** The names in a directory, empty where there is none. */
  list(directory: string): Promise<readonly string[]>
  /** Makes one directory whose parent exists; false when it was there. */
  makeDirectory(path: string): Promise<boolean>
  syncDirectory(path: string): Promise<void>
  freeBytes(directory: string): Promise<number>
}

const call = {
  open: promisify(fs.open),
  read: promisify(fs.read),
  write: promisify(fs.write),
  fdatasync: promisify(fs.fdatasync),
  fsync: promisify(fs.fsync),
  fstat: promisify(fs.fstat),
  close: promisify(fs.close),
  rename: promisify(fs.rename),
  unlink: promisify(fs.unlink),
  rmdir: promisify(fs.rmdir),
  lstat: promisify(fs.lstat),
  readdir: promisify(fs.readdir),
  mkdir: promisify(fs.mkdir),
  statfs: promisify(fs.statfs),
} as const

/** Records of the fabric are for its own user only. */
const fileMode = 0o600
const directoryMode = 0o700

class SystemFile implements DurableFile {
  readonly #descriptor: number

  constructor(descriptor: number) {
    this.#descriptor = descriptor
  }

  async read(position: number, length: number): Promise<Uint8Array> {
    const bytes = Buffer.allocUnsafeSlow(length)
    let at = 0
    while (at < length) {
      const { bytesRead } = await call.read(this.#descriptor, bytes, at, length - at, position + at)
      if (bytesRead === 0) break
      at += bytesRead
    }
    return bytes.subarray(0, at)
  }

  async write(position: number, bytes: Uint8Array): Promise<void> {
    let at = 0
    while (at < bytes.length) {
      const left = bytes.length - at
      const { bytesWritten } = await call.write(this.#descriptor, bytes, at, left, position + at)
      if (bytesWritten === 0) throw new Error('the system wrote nothing')
      at += bytesWritten
    }
  }

  sync(): Promise<void> {
    return call.fdatasync(this.#descriptor)
  }

  async size(): Promise<number> {
    return (await call.fstat(this.#descriptor)).size
  }

  close(): Promise<void> {
    return call.close(this.#descriptor)
  }
}

const flags = {
  create: fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_TRUNC,
  read: fs.constants.O_RDONLY,
  update: fs.constants.O_RDWR,
} as const

function openSystemFile(path: string, mode: 'create'): Promise<DurableFile>
function openSystemFile(path: string, mode: 'read' | 'update'): Promise<DurableFile | null>
async function openSystemFile(path: string, mode: keyof typeof flags): Promise<DurableFile | null> {
  try {
    return new SystemFile(await call.open(path, flags[mode], fileMode))
  } catch (error) {
    if (mode !== 'create' && isAbsence(error)) return null
    throw error
  }
}

/** The machine's own files. */
export const systemFiles: FileLayer = {
  open: openSystemFile,
  rename: call.rename,

  async remove(path) {
    try {
      const found = await call.lstat(path)
      await (found.isDirectory() ? call.rmdir(path) : call.unlink(path))
    } catch (error) {
      if (!isAbsence(error)) throw error
    }
  },

  async list(directory) {
    try {
      return await call.readdir(directory)
    } catch (error) {
      if (isAbsence(error)) return []
      throw error
    }
  },

  async makeDirectory(path) {
    try {
      await call.mkdir(path, directoryMode)
      return true
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return false
      throw error
    }
  },

  async syncDirectory(path) {
    const descriptor = await call.open(path, fs.constants.O_RDONLY)
    try {
      await call.fsync(descriptor)
    } finally {
      await call.close(descriptor)
    }
  },

  async freeBytes(directory) {
    const { bavail, bsize } = await call.statfs(directory)
    return bavail * bsize
  },
}

function isAbsence(error: unknown): boolean {
  return codeOf(error) === 'ENOENT'
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : null
}
