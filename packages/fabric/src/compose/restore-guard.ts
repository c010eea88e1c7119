import {
  type CheckpointComparison,
  compareCheckpoints,
  type ReadLogTile,
  readSignedCheckpoint,
  type Trust,
  utf8,
} from '@countersign/protocol'
import { FileHeadStore } from '../adapters/file/ledger-heads.ts'
import { BackupDamage, type BackupDocument, type CopiedLog } from '../backup/backup-document.ts'
import type { Config } from '../config/config.ts'
import { findPublicResource } from '../ledger/resources.ts'
import type { Clock } from '../lib/clock.ts'
import { systemFiles } from '../lib/durable-file.ts'
import { UnusableFile } from '../lib/named-path.ts'
import { copiedLogFolder, logFolder } from './backup-target.ts'
import { slotFolders } from './log-slot.ts'
import { readLogCheckpoint } from './restore-source.ts'

/** A checkpoint or receipt, and the name under which the operator knows it. */
export interface ShownCheckpoint {
  readonly name: string
  readonly bytes: Uint8Array
}

export interface RestoreRequest {
  readonly config: Pick<Config, 'dataDir' | 'ledger'>
  /** A backup. */
  readonly folder: string
  /** Checkpoints and receipts that show how long the logs were. */
  readonly newest: readonly ShownCheckpoint[]
  /** The operator accepts that entries which the backup lacks are lost. */
  readonly entriesLost: boolean
  readonly clock: Clock
  readonly onStep: (step: string) => void
}

export interface RestoredSlot {
  readonly slot: string
  readonly size: number
  /** Entries that are lost; null where nothing shows how many. */
  readonly missing: number | null
}

/** A log that continued from an older size would sign a second history. */
export class EntriesMissing extends Error {
  override readonly name = 'EntriesMissing'
}

interface GuardOptions
  extends Pick<RestoreRequest, 'config' | 'folder' | 'newest' | 'entriesLost'> {
  readonly backup: BackupDocument
  readonly trust: Trust
}

/**
 * Compares each log of the backup with the checkpoints that are known to be newest. Rejects when
 * one is of another history, and, unless the operator accepts the loss, when the backup is older or
 * nothing shows that it is not.
 */
export async function findNewest(options: GuardOptions): Promise<readonly RestoredSlot[]> {
  const shown = new Map<string, ShownCheckpoint[]>(
    options.backup.logs.map(({ slot }) => [slot, []]),
  )
  for (const each of options.newest) {
    const { origin } = await readSignedCheckpoint(each.bytes, options.trust)
    const log = options.backup.logs.find((one) => one.origin === origin)
    if (log === undefined) {
      const next = 'restore a newer backup: this one was made before that log began'
      throw new UnusableFile(`the backup does not have the log of ${each.name}, ${origin}`, next)
    }
    shown.get(log.slot)?.push(each)
  }
  const slots: RestoredSlot[] = []
  for (const log of options.backup.logs) {
    await assertNotBehindHead(options, log)
    slots.push(await guardLog(options, log, shown.get(log.slot) ?? []))
  }
  return slots
}

async function guardLog(
  options: GuardOptions,
  log: CopiedLog,
  shown: readonly ShownCheckpoint[],
): Promise<RestoredSlot> {
  const { slot, size } = log
  let missing = 0
  for (const each of shown) {
    missing = Math.max(missing, await missingBy(options, log, each))
  }
  const isKnown = shown.length > 0
  if (isKnown && missing === 0) return { slot, size, missing }
  if (options.entriesLost) return { slot, size, missing: isKnown ? missing : null }
  const next = 'accept the loss by --entries-lost'
  if (isKnown) {
    throw new EntriesMissing(
      `the backup lacks ${missing} entries of the log of slot ${slot}: find a newer one, or ${next}`,
    )
  }
  throw new EntriesMissing(
    `nothing shows the newest size of the log of slot ${slot}: pass a checkpoint or receipt by --newest, or ${next}`,
  )
}

/** The entries that a checkpoint covers and the backup does not have. */
async function missingBy(
  options: GuardOptions,
  log: CopiedLog,
  { name, bytes }: ShownCheckpoint,
): Promise<number> {
  const { relation, older, newer } = await compare(options, log, bytes)
  if (relation !== 'forked') return Math.max(0, older.size - newer.size)
  throw new BackupDamage(
    `${name} and the backup are of two histories of the log of slot ${log.slot}: keep both as evidence`,
  )
}

async function compare(
  { folder, backup, trust }: GuardOptions,
  log: CopiedLog,
  bytes: Uint8Array,
): Promise<CheckpointComparison> {
  const { resources } = logFolder(copiedLogFolder(folder, log.slot))
  const own = await readLogCheckpoint({ folder, backup }, log, trust)
  const readTile: ReadLogTile = async (tile) => {
    const found = await findPublicResource(resources, tile)
    if (found === null) throw new BackupDamage(`${tile} of slot ${log.slot} is missing`)
    return found
  }
  return compareCheckpoints(bytes, own, trust, readTile)
}

/** The head store may have outlived the log; what it promised is not given up by an option. */
async function assertNotBehindHead(options: GuardOptions, log: CopiedLog): Promise<void> {
  const { headDirectory } = slotFolders(options.config, log.slot)
  if (headDirectory === undefined) return
  const heads = new FileHeadStore(systemFiles, headDirectory)
  const loaded = await heads.load()
  await heads.close()
  if (loaded === null || loaded.head.size === 0) return
  const name = `${headDirectory}/head`
  const bytes = utf8(loaded.head.checkpoint)
  const missing = await missingBy(options, log, { name, bytes })
  if (missing === 0) return
  throw new EntriesMissing(
    `${name} shows ${missing} entries that the backup lacks: find a newer one, or move that file away`,
  )
}
