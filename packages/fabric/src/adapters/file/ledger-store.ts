import type { LedgerStore } from '../../ledger/store.ts'
import { cachedFiles, type FileLayer, systemFiles } from '../../lib/durable-file.ts'
import { lockFile, type Unlock } from './file-lock.ts'
import { startJournalThread } from './journal-thread.ts'
import { type JournalPlaces, type LedgerJournal, openJournal } from './ledger-journal.ts'
import { FileResourceStore } from './ledger-resources.ts'
import { FileSubjectStore } from './ledger-subjects.ts'

export interface FileLedgerOptions {
  /** Absolute; made, with its parents, where it is missing. */
  readonly directory: string
  /**
   * For the stored head. On another disk, or at least outside what is backed up and restored with
   * `directory`, it makes a restored old copy of the ledger refuse to start.
   */
  readonly headDirectory?: string
  readonly files?: FileLayer
  /**
   * Opens what commits pass; by default a thread on the machine's files, or `files` where given.
   */
  readonly journal?: (places: JournalPlaces) => LedgerJournal
  /** The thread that commits ended by itself; called once, also where nothing is being written. */
  readonly onFail?: (cause: Error) => void
  /** Takes an exclusive lock on a path, or throws. */
  readonly lock?: (path: string) => Unlock
}

/**
 * `log/` (what a static server may show: checkpoint and tiles, with details and index next to
 * them), `wal/`, `subjects`, `head`, `lock`. Rejects when another process holds the lock.
 */
export async function openFileLedgerStore(options: FileLedgerOptions): Promise<LedgerStore> {
  const { directory, headDirectory = directory, files = systemFiles, lock = lockFile } = options
  for (const path of [directory, headDirectory, `${directory}/wal`, `${directory}/log`]) {
    await ensureDirectory(files, path)
  }
  const locks = [lock(`${directory}/lock`)]
  try {
    // Two directories may share one head store by mistake; two logs would then undo each other.
    if (headDirectory !== directory) locks.push(lock(`${headDirectory}/lock`))
  } catch (cause) {
    for (const unlock of locks) unlock()
    throw cause
  }
  const places = { walDirectory: `${directory}/wal`, headDirectory }
  const { wal, heads, commit, close } = (options.journal ?? journalOn(options))(places)
  const subjects = new FileSubjectStore(files, directory)
  return {
    ...{ wal, heads, commit, subjects },
    resources: new FileResourceStore(files, `${directory}/log`, options.files ?? cachedFiles),
    async freeBytes() {
      const places = [directory, headDirectory]
      return Math.min(...(await Promise.all(places.map((each) => files.freeBytes(each)))))
    },
    async close() {
      try {
        await subjects.close()
        await close()
      } finally {
        for (const unlock of locks.splice(0)) unlock()
      }
    },
  }
}

function journalOn({
  files,
  onFail = () => undefined,
}: FileLedgerOptions): (places: JournalPlaces) => LedgerJournal {
  return files === undefined
    ? (places) => startJournalThread(places, onFail)
    : (places) => openJournal(files, places)
}

/** The name is durable on resolve, also where a process that died had made it. */
async function ensureDirectory(files: FileLayer, path: string): Promise<void> {
  const cut = path.lastIndexOf('/')
  const parent = cut === 0 ? '/' : path.slice(0, cut)
  if (!(await files.list(parent)).includes(path.slice(cut + 1))) {
    if (cut > 0) await ensureDirectory(files, parent)
    await files.makeDirectory(path)
  }
  await files.syncDirectory(parent)
}
