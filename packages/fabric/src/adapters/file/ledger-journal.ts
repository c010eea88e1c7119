import type { HeadStore, LedgerCommit, WriteAheadLog } from '../../ledger/store.ts'
import type { FileLayer } from '../../lib/durable-file.ts'
import { FileHeadStore } from './ledger-heads.ts'
import { FileWriteAheadLog } from './ledger-wal.ts'

/** The two stores that every entry passes: the write-ahead log, then the stored head. */
export interface LedgerJournal {
  readonly wal: WriteAheadLog
  readonly heads: HeadStore
  /** As `LedgerStore` promises it. */
  commit(commit: LedgerCommit): Promise<void>
  close(): Promise<void>
}

export interface JournalPlaces {
  /** The directories exist. */
  readonly walDirectory: string
  readonly headDirectory: string
}

export function openJournal(files: FileLayer, places: JournalPlaces): LedgerJournal {
  const wal = new FileWriteAheadLog(files, places.walDirectory)
  const heads = new FileHeadStore(files, places.headDirectory)
  return {
    wal,
    heads,
    async commit({ firstIndex, count, body, previousSize, head }) {
      await wal.append(firstIndex, count, body)
      await heads.write(previousSize, head)
    },
    async close() {
      await wal.close()
      await heads.close()
    },
  }
}
