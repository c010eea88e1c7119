import type { WalRecord, WriteAheadLog } from '../../ledger/store.ts'
import { crc32c } from '../../lib/crc32c.ts'
import { type DurableFile, type FileLayer, readWhole } from '../../lib/durable-file.ts'

/** `magic(4) ‖ uint32 length of body ‖ uint64 first index ‖ body ‖ CRC-32C(4)` of all before it. */
const magic = Buffer.from('CSWR')
const headBytes = 16
const trailerBytes = 4
/** A group's 4 MiB with its largest single entry and its tables fit many times. */
const bodyBytesMax = 64 * 1024 * 1024
/** A new segment begins beyond this, so that trimmed space comes back. */
const segmentBytesMax = 16 * 1024 * 1024
/**
 * A segment grows by this much at once, in zeros. A record within what is there changes no length,
 * so its sync writes data and need not wait for the file system's journal, which tiles keep busy.
 */
const extentBytes = 256 * 1024
const zeros = Buffer.alloc(extentBytes)
/** The last record of a segment begins below `segmentBytesMax`. */
const fileBytesMax = segmentBytesMax + headBytes + bodyBytesMax + trailerBytes + extentBytes
/** A crash during a rewrite leaves a file of such a name, until the next reset. */
const temporary = '.new'

interface Segment {
  readonly path: string
  /** Every record in it lies below this index; grows while the segment is the current one. */
  end: number
}

interface CurrentSegment extends Segment {
  readonly file: DurableFile
  /** Offset of the next record, and the end of the zeros. */
  position: number
  length: number
}

/** Damage that no torn write explains. */
export class WalDamage extends Error {
  override readonly name = 'WalDamage'
}

/** A directory of segments named by a rising number. Trimming removes whole segments. */
export class FileWriteAheadLog implements WriteAheadLog {
  readonly #files: FileLayer
  readonly #directory: string
  readonly #old: Segment[] = []
  #current: CurrentSegment | null = null
  #number = 0
  #frame = Buffer.allocUnsafeSlow(64 * 1024)

  constructor(files: FileLayer, directory: string) {
    this.#files = files
    this.#directory = directory
  }

  /** Durable on resolve. `count` entries from `firstIndex`, encoded in the concatenated `body`. */
  async append(firstIndex: number, count: number, body: readonly Uint8Array[]): Promise<void> {
    let segment = this.#current
    if (segment === null || segment.position >= segmentBytesMax) segment = await this.#begin()
    const frame = this.#encode(firstIndex, body)
    while (segment.length < segment.position + frame.length) {
      await segment.file.write(segment.length, zeros)
      segment.length += extentBytes
    }
    await segment.file.write(segment.position, frame)
    await segment.file.sync()
    segment.position += frame.length
    segment.end = firstIndex + count
  }

  async replay(visit: (record: WalRecord) => void): Promise<void> {
    const names = await this.#names()
    for (const [i, name] of names.entries()) {
      const bytes = await readFile(this.#files, `${this.#directory}/${name}`)
      const end = replaySegment(bytes, visit)
      const isLast = i === names.length - 1
      // A later record exists only because an earlier one was synced whole.
      const rest = bytes.subarray(end)
      if (isLast ? holdsRecord(rest.subarray(1)) : !isBlank(rest)) {
        throw new WalDamage('the write-ahead log is damaged before its end')
      }
    }
  }

  /** Into new files: a sync of the old ones would write nothing of what a failed one gave up. */
  async rewrite(): Promise<void> {
    for (const name of await this.#names()) {
      const path = `${this.#directory}/${name}`
      const bytes = await readFile(this.#files, path)
      const file = await this.#files.open(path + temporary, 'create')
      try {
        await file.write(0, bytes)
        await file.sync()
      } finally {
        await file.close()
      }
      await this.#files.rename(path + temporary, path)
    }
    await this.#files.syncDirectory(this.#directory)
  }

  async trim(size: number): Promise<void> {
    const current = this.#current
    if (current !== null && current.end <= size && current.position >= segmentBytesMax) {
      await current.file.close()
      this.#old.push(current)
      this.#current = null
    }
    while (this.#old[0] !== undefined && this.#old[0].end <= size) {
      await this.#files.remove(this.#old[0].path)
      this.#old.shift()
    }
  }

  async reset(): Promise<void> {
    await this.#current?.file.close()
    this.#current = null
    this.#old.length = 0
    // Oldest first: a crash in between must not leave a gap before records.
    for (const name of await this.#names()) await this.#files.remove(`${this.#directory}/${name}`)
    for (const name of await this.#files.list(this.#directory)) {
      if (name.endsWith(temporary)) await this.#files.remove(`${this.#directory}/${name}`)
    }
    await this.#files.syncDirectory(this.#directory)
  }

  async close(): Promise<void> {
    const current = this.#current
    this.#current = null
    await current?.file.close()
  }

  /** The name is durable before the first record in it is acknowledged. */
  async #begin(): Promise<CurrentSegment> {
    if (this.#current !== null) {
      await this.#current.file.close()
      this.#old.push(this.#current)
    }
    const last = (await this.#names()).at(-1)
    this.#number = Math.max(this.#number, last === undefined ? 0 : Number.parseInt(last, 10)) + 1
    const path = `${this.#directory}/${String(this.#number).padStart(10, '0')}`
    const file = await this.#files.open(path, 'create')
    await this.#files.syncDirectory(this.#directory)
    this.#current = { path, end: 0, file, position: 0, length: 0 }
    return this.#current
  }

  async #names(): Promise<readonly string[]> {
    const names = await this.#files.list(this.#directory)
    return names.filter((name) => /^[0-9]{10}$/.test(name)).sort()
  }

  /** Into one buffer that is used again: one append runs at a time. */
  #encode(firstIndex: number, body: readonly Uint8Array[]): Buffer {
    const bodyBytes = body.reduce((sum, part) => sum + part.length, 0)
    if (bodyBytes > bodyBytesMax) throw new RangeError('the record is too large')
    const total = headBytes + bodyBytes + trailerBytes
    if (total > this.#frame.length) this.#frame = Buffer.allocUnsafeSlow(total * 2)
    const frame = this.#frame.subarray(0, total)
    frame.set(magic)
    frame.writeUInt32BE(bodyBytes, 4)
    frame.writeBigUInt64BE(BigInt(firstIndex), 8)
    let at = headBytes
    for (const part of body) {
      frame.set(part, at)
      at += part.length
    }
    frame.writeUInt32BE(crc32c(frame.subarray(0, at)), at)
    return frame
  }
}

/** Gives where the last whole record ends. */
function replaySegment(bytes: Buffer, visit: (record: WalRecord) => void): number {
  let at = 0
  for (;;) {
    const end = recordEnd(bytes, at)
    if (end === null) return at
    const firstIndex = Number(bytes.readBigUInt64BE(at + 8))
    visit({ firstIndex, body: bytes.subarray(at + headBytes, end - trailerBytes) })
    at = end
  }
}

function recordEnd(bytes: Buffer, at: number): number | null {
  if (at + headBytes + trailerBytes > bytes.length) return null
  if (!bytes.subarray(at, at + magic.length).equals(magic)) return null
  const end = at + headBytes + bytes.readUInt32BE(at + 4) + trailerBytes
  if (end > bytes.length) return null
  const sum = bytes.readUInt32BE(end - trailerBytes)
  return crc32c(bytes.subarray(at, end - trailerBytes)) === sum ? end : null
}

/** The magic alone can stand in any torn record's entries; a whole record with its sum cannot. */
function holdsRecord(bytes: Buffer): boolean {
  for (let at = bytes.indexOf(magic); at >= 0; at = bytes.indexOf(magic, at + 1)) {
    if (recordEnd(bytes, at) !== null) return true
  }
  return false
}

function isBlank(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; at += zeros.length) {
    const part = bytes.subarray(at, at + zeros.length)
    if (!part.equals(zeros.subarray(0, part.length))) return false
  }
  return true
}

async function readFile(files: FileLayer, path: string): Promise<Buffer> {
  const file = await files.open(path, 'read')
  if (file === null) throw new WalDamage('a segment of the write-ahead log vanished')
  try {
    const bytes = await readWhole(file, path, fileBytesMax)
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  } finally {
    await file.close()
  }
}
