import { open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FollowedEntry } from '@countersign/protocol'

/** Takes entries of a log in their order, each at least once. */
export interface EntrySink {
  /** Resolves once the entries are durable; until then they are given again after a crash. */
  write(entries: readonly FollowedEntry[]): Promise<void>
}

/** The place in the log up to which a sink has the entries. */
export interface ExportCursor {
  /** Null before the first batch. */
  read(): Promise<string | null>
  /** Resolves once it would survive a power loss. */
  write(cursor: string): Promise<void>
}

export interface ExportLimits {
  /** Entries of one batch, and how long one waits for further entries. */
  readonly batchEntries: number
  readonly batchMs: number
  /** Between two attempts to reach the fabric: doubled each time, up to the second. */
  readonly backOffMs: number
  readonly backOffMaxMs: number
}

export const exportLimits: ExportLimits = {
  batchEntries: 256,
  batchMs: 200,
  backOffMs: 1_000,
  backOffMaxMs: 30_000,
}

export interface ExportOptions {
  /**
   * Calls `use` with every entry behind `after`, or from the first one on where it is null, until
   * `signal`; closes the connection when `use` is done.
   */
  connect(
    after: string | null,
    use: (entries: AsyncIterable<FollowedEntry>) => Promise<void>,
  ): Promise<void>
  readonly sink: EntrySink
  readonly cursor: ExportCursor
  readonly signal: AbortSignal
  /** Reports whether the fabric may be asked again after this error; any other one is thrown. */
  isPassing(error: unknown): boolean
  /** Called before each wait. */
  onWait(error: unknown, waitMs: number): void
  readonly limits?: Partial<ExportLimits>
}

/**
 * Gives the sink every entry of a log at least once, in the order of the log, until the signal. The
 * cursor moves after the sink has a batch, so that a crash between the two repeats that batch, and
 * no entry is left out. Throws what the sink and the cursor throw.
 */
export async function exportEntries(options: ExportOptions): Promise<void> {
  const { signal, isPassing, onWait } = options
  const limits = { ...exportLimits, ...options.limits }
  let waitMs = limits.backOffMs
  while (!signal.aborted) {
    let ended: unknown = new Error('the fabric ended the stream')
    const after = await options.cursor.read()
    try {
      await options.connect(after, async (entries) => {
        for await (const batch of batches(entries[Symbol.asyncIterator](), limits)) {
          await deliver(options, batch)
          waitMs = limits.backOffMs
        }
      })
    } catch (error) {
      if (!isPassing(error)) throw error
      ended = error
    }
    if (signal.aborted) return
    onWait(ended, waitMs)
    await sleep(waitMs, undefined, { signal }).catch(() => undefined)
    waitMs = Math.min(waitMs * 2, limits.backOffMaxMs)
  }
}

async function deliver(
  { sink, cursor }: Pick<ExportOptions, 'sink' | 'cursor'>,
  batch: readonly FollowedEntry[],
): Promise<void> {
  const last = batch.at(-1)
  if (last === undefined) return
  await sink.write(batch)
  await cursor.write(last.cursor)
}

/** The entries that come within `batchMs` of the first. An error of the source drops a batch. */
async function* batches(
  source: AsyncIterator<FollowedEntry>,
  { batchEntries, batchMs }: Pick<ExportLimits, 'batchEntries' | 'batchMs'>,
): AsyncGenerator<readonly FollowedEntry[]> {
  let batch: FollowedEntry[] = []
  let full: Promise<null> | null = null
  let next = source.next()
  try {
    for (;;) {
      const got: IteratorResult<FollowedEntry> | null =
        full === null ? await next : await Promise.race([next, full])
      if (got?.done === true) break
      if (got !== null) {
        batch.push(got.value)
        next = source.next()
        // Its error is met by the next turn.
        next.catch(() => undefined)
        full ??= sleep(batchMs, null)
      }
      if (got !== null && batch.length < batchEntries) continue
      yield batch
      batch = []
      full = null
    }
    if (batch.length > 0) yield batch
  } finally {
    await source.return?.()
  }
}

/** Appends each entry as a line of JSON to a file, which may be renamed at any time. */
export class FileSink implements EntrySink {
  readonly #path: string
  readonly #format: (entry: FollowedEntry) => string

  constructor(path: string, format: (entry: FollowedEntry) => string) {
    this.#path = path
    this.#format = format
  }

  /** Cuts off the part of a line that a crash left at the end: that entry comes again. */
  async mend(): Promise<void> {
    const file = await open(this.#path, 'a+', 0o600)
    try {
      const { size } = await file.stat()
      const end = await lastLineEnd(file, size)
      if (end < size) await file.truncate(end)
      await file.sync()
    } finally {
      await file.close()
    }
    await syncFolder(this.#path)
  }

  async write(entries: readonly FollowedEntry[]): Promise<void> {
    const file = await open(this.#path, 'a', 0o600)
    let isNew = false
    try {
      isNew = (await file.stat()).size === 0
      await file.appendFile(entries.map(this.#format).join(''))
      await file.datasync()
    } finally {
      await file.close()
    }
    if (isNew) await syncFolder(this.#path)
  }
}

/** The offset behind the last line break before `size`. */
async function lastLineEnd(file: Awaited<ReturnType<typeof open>>, size: number): Promise<number> {
  const part = Buffer.alloc(64 * 1024)
  for (let end = size; end > 0; ) {
    const from = Math.max(0, end - part.length)
    const { bytesRead } = await file.read(part, 0, end - from, from)
    const at = part.subarray(0, bytesRead).lastIndexOf(10)
    if (at !== -1) return from + at + 1
    end = from
  }
  return 0
}

/** A cursor in a file of its own: one line, replaced whole. */
export function fileCursor(path: string): ExportCursor {
  return {
    async read() {
      const text = await readFile(path, 'utf8').catch((error: unknown) => {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
        throw error
      })
      return text === null || text.trim() === '' ? null : text.trim()
    },
    async write(cursor) {
      const temporary = `${path}.new`
      const file = await open(temporary, 'w', 0o600)
      try {
        await file.writeFile(`${cursor}\n`)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, path)
      await syncFolder(path)
    },
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
