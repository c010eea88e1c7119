import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import type { WalRecord } from '../../ledger/store.ts'
import { blockingFiles } from '../../lib/durable-file.ts'
import type { JournalCall, JournalReply } from './journal-thread.ts'
import { type JournalPlaces, type LedgerJournal, openJournal } from './ledger-journal.ts'

async function carryOut(journal: LedgerJournal, call: JournalCall): Promise<unknown> {
  switch (call.name) {
    case 'commit':
      return journal.commit(call.commit)
    case 'load':
      return journal.heads.load()
    case 'replace':
      return journal.heads.replace(call.previousSize, call.next)
    case 'sync':
      return journal.heads.sync()
    case 'trim':
      return journal.wal.trim(call.size)
    case 'rewrite':
      return journal.wal.rewrite()
    case 'reset':
      return journal.wal.reset()
    case 'close':
      return journal.close()
    case 'replay': {
      const records: WalRecord[] = []
      await journal.wal.replay(({ firstIndex, body }) => {
        records.push({ firstIndex, body: new Uint8Array(body) })
      })
      return records
    }
  }
}

function serve(port: MessagePort, places: JournalPlaces): void {
  const journal = openJournal(blockingFiles, places)
  let last = Promise.resolve()
  port.on('message', (call: JournalCall) => {
    // In the order of the calls, also where one of them takes several turns.
    last = last
      .then(() => carryOut(journal, call))
      .then(
        (value): JournalReply => ({ value }),
        (cause: unknown): JournalReply => ({ fault: messageOf(cause) }),
      )
      .then((reply) => {
        port.postMessage(reply)
        if (call.name === 'close') port.close()
      })
  })
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}

if (parentPort === null) throw new Error('the journal runs in a worker thread')
serve(parentPort, workerData as JournalPlaces)
