import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readdirSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../lib/clock.ts'
import { makeFolder, readInFolder } from '../../lib/named-path.ts'
import {
  encodeHeader,
  encodeRecord,
  type RecordedValue,
  readValueFile,
  recordBytes,
  ValueFileFault,
} from './value-format.ts'

export type { RecordedValue } from './value-format.ts'

/**
 * Files that hold used values over a restart of the process. A value is written before it is
 * accepted, without a sync: the page cache of the kernel outlives the process. It does not outlive
 * the kernel, so each file names the boot in which it was written.
 */
export interface ValueFiles {
  /** Those that were found at the start. */
  readonly recorded: readonly RecordedValue[]
  /** When values may have been lost; negative infinity if all that were used are in `recorded`. */
  readonly lostAt: number
  /** Throws when the value could not be written, as on a full disk. `now` is monotonic. */
  append(value: RecordedValue, now: number): void
  close(): void
}

export interface ValueFilesOptions {
  readonly dir: string
  readonly clock: Clock
  /** The id of this boot of the host. Null if the system has none: each start is a loss. */
  readonly bootId: string | null
  /** True when no value can have been used before: the fabric or the agent is new. */
  readonly isFirst: boolean
  readonly valuesMax: number
  /** Reports why values may have been lost. */
  onLoss(reason: string): void
  /** Reports that no value can be written, as on a full disk: each claim tries again. */
  onFault(cause: unknown): void
}

/** A file takes values for this long; it is removed once all of its values have expired. */
const rotateMs = 120_000

export const valueFileName = /^[0-9]{10}\.used$/

/**
 * Opens the files of a folder that no other process uses. Values that are still live are copied to
 * one new file, so that restarts do not add up, and the old files are removed after that: a crash
 * in between leaves both, and the next start reads both.
 */
export function openValueFiles(options: ValueFilesOptions): ValueFiles {
  const { dir, clock } = options
  makeFolder(dir)
  const names = readdirSync(dir)
    .filter((name) => valueFileName.test(name))
    .toSorted()
  const found = readAll(options, names)
  const lostAt = typeof found === 'string' ? clock.now() : found.lostAt
  if (typeof found === 'string') options.onLoss(found)
  const recorded = typeof found === 'string' ? [] : found.values
  const last = Number.parseInt(names.at(-1) ?? '0', 10)
  const files = new RotatingFiles(options, { lostAt, next: last + 1 })
  try {
    files.begin(clock.monotonic(), recorded)
    for (const name of names) unlinkSync(join(dir, name))
  } catch (cause) {
    options.onFault(cause)
  }
  return {
    recorded,
    lostAt,
    append: (value, now) => files.append(value, now),
    close: () => files.close(),
  }
}

interface Found {
  readonly lostAt: number
  readonly values: readonly RecordedValue[]
}

/** Gives all live values, or the reason why some may be missing. */
function readAll(options: ValueFilesOptions, names: readonly string[]): Found | string {
  const { dir, clock, bootId, isFirst, valuesMax } = options
  if (bootId === null) return 'this system does not identify its boots'
  if (names.length === 0) {
    return isFirst
      ? { lostAt: Number.NEGATIVE_INFINITY, values: [] }
      : 'no record of them was found'
  }
  let lostAt = Number.NEGATIVE_INFINITY
  const values = new Map<string, RecordedValue>()
  // Values of up to two windows, and their copies of an interrupted start.
  let bytesLeft = 4 * (valuesMax + 1) * recordBytes
  try {
    for (const name of names) {
      const path = join(dir, name)
      const bytes = readInFolder(path, bytesLeft)
      bytesLeft -= bytes.length
      const file = readValueFile(bytes, { bootId, inode: inodeOf(path) })
      lostAt = Math.max(lostAt, file.lostAt)
      for (const value of file.values) {
        const windowMs = remainingOf(value, clock.now())
        if (windowMs > 0) values.set(value.key, { ...value, windowMs })
      }
    }
  } catch (error) {
    // Also a file that cannot be read: its values are unknown, which is a loss.
    return error instanceof ValueFileFault ? error.message : `they cannot be read: ${String(error)}`
  }
  if (values.size > valuesMax) return `there are more than ${valuesMax} of them`
  return { lostAt, values: [...values.values()] }
}

/**
 * Up to a whole window, since the wall clock may have been set while no process was running; and
 * never beyond one window after the expiry, so that restarts do not keep a value for ever.
 */
function remainingOf({ expiresAt, windowMs }: RecordedValue, now: number): number {
  return Math.min(windowMs, expiresAt + windowMs - now)
}

function inodeOf(path: string): bigint {
  const descriptor = openSync(path, 'r')
  try {
    return fstatSync(descriptor, { bigint: true }).ino
  } finally {
    closeSync(descriptor)
  }
}

interface OpenFile {
  readonly path: string
  readonly descriptor: number
  /** Monotonic. */
  readonly beganAt: number
  /** Bytes up to which everything is known to be written. */
  length: number
  /** Monotonic; when the last of its values has expired. */
  expiresAt: number
}

/** One file that takes values, and those before it whose values are still live. */
class RotatingFiles {
  readonly #options: ValueFilesOptions
  readonly #lostAt: number
  #next: number
  #current: OpenFile | null = null
  #full: OpenFile[] = []
  #isClosed = false

  constructor(options: ValueFilesOptions, from: { lostAt: number; next: number }) {
    this.#options = options
    this.#lostAt = from.lostAt
    this.#next = from.next
  }

  /** Begins a file, with `values` in it. Throws where it cannot be written. */
  begin(now: number, values: readonly RecordedValue[] = []): OpenFile {
    const name = `${String(this.#next).padStart(10, '0')}.used`
    const path = join(this.#options.dir, name)
    const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND } = constants
    const descriptor = openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND, 0o600)
    this.#next += 1
    const file: OpenFile = { path, descriptor, beganAt: now, length: 0, expiresAt: now }
    try {
      const inode = fstatSync(descriptor, { bigint: true }).ino
      const header = encodeHeader({ bootId: this.#options.bootId, inode, lostAt: this.#lostAt })
      write(file, Buffer.concat([header, ...values.map(encodeRecord)]))
    } catch (cause) {
      // Half a file would be a loss at the next start, which the values in the others do not need.
      closeSync(descriptor)
      unlinkSync(path)
      throw cause
    }
    for (const { windowMs } of values) file.expiresAt = Math.max(file.expiresAt, now + windowMs)
    if (this.#current !== null) this.#full.push(this.#current)
    this.#current = file
    return file
  }

  append(value: RecordedValue, now: number): void {
    if (this.#isClosed) throw new Error('the record of used values is closed')
    const current = this.#current
    const isDue = current === null || now - current.beganAt >= rotateMs
    const file = isDue ? this.begin(now) : current
    if (isDue) this.#removeExpired(now)
    write(file, encodeRecord(value))
    file.expiresAt = Math.max(file.expiresAt, now + value.windowMs)
  }

  #removeExpired(now: number): void {
    const expired = this.#full.filter(({ expiresAt }) => expiresAt <= now)
    this.#full = this.#full.filter(({ expiresAt }) => expiresAt > now)
    for (const { descriptor, path } of expired) {
      closeSync(descriptor)
      unlinkSync(path)
    }
  }

  close(): void {
    this.#isClosed = true
    for (const { descriptor } of this.#full) closeSync(descriptor)
    if (this.#current !== null) closeSync(this.#current.descriptor)
    this.#full = []
    this.#current = null
  }
}

/** Everything or nothing: half a record would make those behind it unreadable. */
function write(file: OpenFile, bytes: Uint8Array): void {
  try {
    const count = writeSync(file.descriptor, bytes, 0, bytes.length)
    if (count !== bytes.length) throw new Error('the disk took only a part of a used value')
  } catch (cause) {
    // If this fails as well, the next record begins in the middle of this one, and the next start
    // finds a corrupt file, which is a loss.
    ftruncateSync(file.descriptor, file.length)
    throw cause
  }
  file.length += bytes.length
}
