import { stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'

export interface DiskWatchOptions {
  readonly dataDir: string
  /** Less than this is worth a warning; well above the space below which the ledger refuses. */
  readonly warnBytes: number
  readonly everyMs?: number
  onLow(freeBytes: number): void
  onEnough(freeBytes: number): void
  /** What is written from now on goes into files that no later start finds. */
  onGone(cause: Error): void
}

export interface DiskWatch {
  /** As last measured. */
  readonly freeBytes: number
  close(): void
}

/** Files whose removal a process with open descriptors does not see by itself. */
const watched = ['', 'ledger', 'ledger/lock', 'ledger/wal', 'state.db'] as const

const everyMsDefault = 2_000

/**
 * Looks at the data folder while the fabric runs. An open file can be written long after its name is
 * gone: entries would be acknowledged that nobody can read again.
 */
export async function watchDisk(options: DiskWatchOptions): Promise<DiskWatch> {
  const { dataDir, warnBytes } = options
  const before = await identitiesOf(dataDir)
  let freeBytes = await measure(dataDir)
  let low = false
  const judge = (): void => {
    if (freeBytes < warnBytes === low) return
    low = !low
    if (low) options.onLow(freeBytes)
    else options.onEnough(freeBytes)
  }
  const look = async (): Promise<void> => {
    const now = await identitiesOf(dataDir)
    const gone = watched.find((_, at) => before[at] !== null && before[at] !== now[at])
    if (gone !== undefined) {
      clearInterval(timer)
      const path = join(dataDir, gone)
      options.onGone(new Error(`${path} of the data folder was removed or replaced`))
      return
    }
    freeBytes = await measure(dataDir)
    judge()
  }
  judge()
  let looking = false
  const timer = setInterval(() => {
    // A disk that hangs must not gather looks.
    if (looking) return
    looking = true
    void look().finally(() => {
      looking = false
    })
  }, options.everyMs ?? everyMsDefault)
  timer.unref()
  return {
    get freeBytes() {
      return freeBytes
    },
    close: () => clearInterval(timer),
  }
}

async function identitiesOf(dataDir: string): Promise<readonly (string | null)[]> {
  return Promise.all(
    watched.map(async (name) => {
      const found = await stat(join(dataDir, name)).catch(() => null)
      return found === null ? null : `${found.dev}:${found.ino}`
    }),
  )
}

async function measure(dataDir: string): Promise<number> {
  const found = await statfs(dataDir).catch(() => null)
  return found === null ? 0 : found.bavail * found.bsize
}
