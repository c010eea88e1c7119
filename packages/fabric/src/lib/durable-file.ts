import * as fs from 'node:fs'
import { promisify } from 'node:util'
import { systemClock } from './clock.ts'
import { UnusableFile } from './named-path.ts'

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

export interface FileStat {
  readonly kind: 'file' | 'folder' | 'other'
  readonly bytes: number
}

/**
 * The operations that a durable store needs from a file system. The harness in `tools/crash` puts
 * faults and a model of the page cache behind it. A name that was created, renamed or removed may
 * come back, or be gone, after a power loss until `syncDirectory` of its directory resolves.
 */
export interface FileLayer {
  /**
   * `create` makes or empties the file; the other two give null where there is none. Rejects with
   * UnusableFile for a link, a named pipe and everything else that is not a file, and waits for
   * none of them.
   */
  open(path: string, mode: 'create'): Promise<DurableFile>
  open(path: string, mode: 'read' | 'update'): Promise<DurableFile | null>
  rename(from: string, to: string): Promise<void>
  /** A file or an empty directory; nothing happens where there is none. */
  remove(path: string): Promise<void>
  /** The kind and length of what a name stands for, never behind a link; null for no such name. */
  stat(path: string): Promise<FileStat | null>
  /** The names in a directory, empty where there is none. */
  list(directory: string): Promise<readonly string[]>
  /** Makes one directory whose parent exists; false when it was there. */
  makeDirectory(path: string): Promise<boolean>
  syncDirectory(path: string): Promise<void>
  freeBytes(directory: string): Promise<number>
}

/** The system calls that a file layer makes. */
interface SystemCalls {
  readonly open: (path: string, flags: number, mode?: number) => Promise<number>
  /** Gives how many bytes the system took or gave, from the first one on. */
  readonly read: Transfer
  readonly write: Transfer
  readonly fdatasync: (descriptor: number) => Promise<void>
  readonly fsync: (descriptor: number) => Promise<void>
  readonly fstat: (descriptor: number) => Promise<{ readonly size: number; isFile(): boolean }>
  readonly close: (descriptor: number) => Promise<void>
  readonly rename: (from: string, to: string) => Promise<void>
  readonly unlink: (path: string) => Promise<void>
  readonly rmdir: (path: string) => Promise<void>
  readonly lstat: (
    path: string,
  ) => Promise<{ isDirectory(): boolean; isFile(): boolean; readonly size: number }>
  readonly readdir: (path: string) => Promise<readonly string[]>
  readonly mkdir: (path: string, mode: number) => Promise<unknown>
  readonly statfs: (path: string) => Promise<{ readonly bavail: number; readonly bsize: number }>
}

type Transfer = (descriptor: number, bytes: Uint8Array, position: number) => Promise<number>

const pooledRead = promisify(fs.read)
const pooledWrite = promisify(fs.write)

const threadPool: SystemCalls = {
  open: promisify(fs.open),
  async read(descriptor, bytes, position) {
    return (await pooledRead(descriptor, bytes, 0, bytes.length, position)).bytesRead
  },
  async write(descriptor, bytes, position) {
    return (await pooledWrite(descriptor, bytes, 0, bytes.length, position)).bytesWritten
  },
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
}

/** Each call returns when the system has answered; its promise is settled by then. */
const blocking: SystemCalls = {
  open: async (path, flags, mode) => fs.openSync(path, flags, mode),
  read: async (descriptor, bytes, position) =>
    fs.readSync(descriptor, bytes, 0, bytes.length, position),
  write: async (descriptor, bytes, position) =>
    fs.writeSync(descriptor, bytes, 0, bytes.length, position),
  fdatasync: async (descriptor) => fs.fdatasyncSync(descriptor),
  fsync: async (descriptor) => fs.fsyncSync(descriptor),
  fstat: async (descriptor) => fs.fstatSync(descriptor),
  close: async (descriptor) => fs.closeSync(descriptor),
  rename: async (from, to) => fs.renameSync(from, to),
  unlink: async (path) => fs.unlinkSync(path),
  rmdir: async (path) => fs.rmdirSync(path),
  lstat: async (path) => fs.lstatSync(path),
  readdir: async (path) => fs.readdirSync(path),
  mkdir: async (path, mode) => fs.mkdirSync(path, mode),
  statfs: async (path) => fs.statfsSync(path),
}

/** Records of the fabric are for its own user only. */
const fileMode = 0o600
const directoryMode = 0o700

class SystemFile implements DurableFile {
  readonly #call: SystemCalls
  readonly #descriptor: number

  constructor(call: SystemCalls, descriptor: number) {
    this.#call = call
    this.#descriptor = descriptor
  }

  async read(position: number, length: number): Promise<Uint8Array> {
    const bytes = Buffer.allocUnsafeSlow(length)
    let at = 0
    while (at < length) {
      const count = await this.#call.read(this.#descriptor, bytes.subarray(at), position + at)
      if (count === 0) break
      at += count
    }
    return bytes.subarray(0, at)
  }

  async write(position: number, bytes: Uint8Array): Promise<void> {
    let at = 0
    while (at < bytes.length) {
      const count = await this.#call.write(this.#descriptor, bytes.subarray(at), position + at)
      if (count === 0) throw new Error('the system wrote nothing')
      at += count
    }
  }

  sync(): Promise<void> {
    return this.#call.fdatasync(this.#descriptor)
  }

  async size(): Promise<number> {
    return (await this.#call.fstat(this.#descriptor)).size
  }

  close(): Promise<void> {
    return this.#call.close(this.#descriptor)
  }
}

/** A named pipe would be waited for without end, and a link leads to a file of another's choice. */
const plain = fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK

const flags = {
  create: fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_TRUNC | plain,
  read: fs.constants.O_RDONLY | plain,
  update: fs.constants.O_RDWR | plain,
} as const

/** A link, a folder or a named pipe that no process reads, and a socket. */
const notOpened: ReadonlySet<unknown> = new Set(['ELOOP', 'EISDIR', 'ENXIO'])

function notOneFile(path: string, options: ErrorOptions = {}): UnusableFile {
  const next = 'move it away, and put a file in its place'
  return new UnusableFile(`${path} is a link or a special file, and not a file`, next, options)
}

async function assertFile(call: SystemCalls, descriptor: number, path: string): Promise<void> {
  try {
    if (!(await call.fstat(descriptor)).isFile()) throw notOneFile(path)
  } catch (error) {
    await call.close(descriptor)
    throw error
  }
}

/** All of a file. Rejects with UnusableFile, before it reads any of it, beyond `bytesMax`. */
export async function readWhole(
  file: Pick<DurableFile, 'read' | 'size'>,
  path: string,
  bytesMax: number,
): Promise<Uint8Array> {
  const size = await file.size()
  if (size <= bytesMax) return file.read(0, size)
  throw new UnusableFile(`${path} is longer than ${bytesMax} bytes`, 'put back a copy of it')
}

function createFileLayer(call: SystemCalls): FileLayer {
  function open(path: string, mode: 'create'): Promise<DurableFile>
  function open(path: string, mode: 'read' | 'update'): Promise<DurableFile | null>
  async function open(path: string, mode: keyof typeof flags): Promise<DurableFile | null> {
    try {
      const descriptor = await call.open(path, flags[mode], fileMode)
      await assertFile(call, descriptor, path)
      return new SystemFile(call, descriptor)
    } catch (error) {
      if (mode !== 'create' && isAbsence(error)) return null
      throw notOpened.has(codeOf(error)) ? notOneFile(path, { cause: error }) : error
    }
  }

  return {
    open,
    rename: call.rename,

    async remove(path) {
      try {
        const found = await call.lstat(path)
        await (found.isDirectory() ? call.rmdir(path) : call.unlink(path))
      } catch (error) {
        if (!isAbsence(error)) throw error
      }
    },

    async stat(path) {
      try {
        const found = await call.lstat(path)
        const kind = found.isFile() ? 'file' : found.isDirectory() ? 'folder' : 'other'
        return { kind, bytes: found.size }
      } catch (error) {
        if (isAbsence(error)) return null
        throw error
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
      const descriptor = await call.open(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY)
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
}

/** The machine's own files; a wait for a disk takes place in the thread pool. */
export const systemFiles: FileLayer = createFileLayer(threadPool)

/** A read that takes longer had to wait for the disk. */
const cachedReadMs = 0.5
/** Disk waits hold up the thread for at most one fiftieth of the time. */
const pauseFactor = 50

/**
 * Opens and reads in the calling thread what the system most likely has in memory: there, a small
 * read takes a microsecond, and 30 by way of the thread pool. After a read that waited for the
 * disk, the thread pool reads for fifty times as long.
 */
function readingInPlace(): SystemCalls {
  let pooledUntil = 0
  const choose = async <Result>(
    inPlace: () => Promise<Result>,
    pooled: () => Promise<Result>,
  ): Promise<Result> => {
    const start = systemClock.monotonic()
    if (start < pooledUntil) return pooled()
    // It has done its work when it returns.
    const result = inPlace()
    const end = systemClock.monotonic()
    if (end - start > cachedReadMs) pooledUntil = end + pauseFactor * (end - start)
    return result
  }
  return {
    ...threadPool,
    open: (...args) =>
      choose(
        () => blocking.open(...args),
        () => threadPool.open(...args),
      ),
    read: (...args) =>
      choose(
        () => blocking.read(...args),
        () => threadPool.read(...args),
      ),
    fstat: blocking.fstat,
    close: blocking.close,
  }
}

/** For small reads of files that are read often. */
export const cachedFiles: FileLayer = createFileLayer(readingInPlace())

/** The same for a thread that has nothing else to do: a wait for the disk holds up all of it. */
export const blockingFiles: FileLayer = createFileLayer(blocking)

function isAbsence(error: unknown): boolean {
  return codeOf(error) === 'ENOENT'
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : null
}

/** A copy of a store could not be made: too little room on the disk, or a fault of the place. */
export class SnapshotFault extends Error {
  override readonly name = 'SnapshotFault'
}
