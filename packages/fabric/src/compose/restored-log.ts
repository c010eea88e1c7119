import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import type { Config } from '../config/config.ts'
import type { EntryFeed } from '../ledger/entry-feed.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { KeptBy } from '../ledger/pruning.ts'
import { type DurableFile, readWhole, systemFiles } from '../lib/durable-file.ts'
import { appendLifecycle } from './lifecycle.ts'
import { slotFolders } from './log-slot.ts'
import type { Environment } from './stores.ts'

/** In the folder of a log that was restored, until its first start has recorded it. */
export const RESTORED_FILE = 'restored.json'
const restoredBytesMax = 4_096

const restoredSchema = z.strictObject({
  v: z.literal(1),
  /** Unix milliseconds. */
  backupAt: z.int().min(0),
  restoredAt: z.int().min(0),
  /** Entries from which the log goes on. */
  size: z.int().min(1),
  /** Entries that are known to be lost; null where nothing showed their number. */
  missing: z.int().min(0).nullable(),
})
type RestoredLog = Readonly<z.infer<typeof restoredSchema>>

export function formatRestored(restored: RestoredLog): string {
  return `${JSON.stringify(restored)}\n`
}

/**
 * Puts on record that the log was restored, before the process serves: with the size from which it
 * goes on, the loss that the operator accepted, and the entries that the policy does not keep any
 * more. These may have been pruned after the backup, and are pruned again at once. Recorded twice
 * if the process ends before the file is removed.
 */
export async function recordRestored(
  environment: Pick<Environment, 'clock' | 'random'> & {
    readonly config: Pick<Config, 'dataDir' | 'ledger'>
  },
  feed: Pick<EntryFeed, 'append' | 'slot'>,
  ledger: Pick<Ledger, 'pruning'>,
): Promise<void> {
  const { directory } = slotFolders(environment.config, feed.slot)
  const path = join(directory, RESTORED_FILE)
  const file = await systemFiles.open(path, 'read')
  if (file === null) return
  const text = await readText(file, path)
  const { backupAt, restoredAt, size, missing } = parseRestored(path, text)
  const { first, minimum } = await ledger.pruning.plan()
  const facts = {
    ...{ event: 'log-restored', 'log.size': size, 'entries-lost': missing ?? 'unknown' },
    ...{ 'backup.at': backupAt, 'restored.at': restoredAt },
    'entries-to-prune': minimum - first,
  }
  await appendLifecycle(environment, feed, { facts, purpose: null })
  let keptBy: KeptBy
  do keptBy = (await ledger.pruning.prune({ exchange: null })).keptBy
  while (keptBy === 'turn')
  await rm(path)
  await systemFiles.syncDirectory(directory)
}

async function readText(file: DurableFile, path: string): Promise<string> {
  try {
    return Buffer.from(await readWhole(file, path, restoredBytesMax)).toString()
  } finally {
    await file.close()
  }
}

function parseRestored(path: string, text: string): RestoredLog {
  try {
    return restoredSchema.parse(JSON.parse(text))
  } catch (cause) {
    throw new Error(`${path} cannot be read: restore the backup once more`, { cause })
  }
}
