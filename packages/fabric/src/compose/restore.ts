import { readdir, rm, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  equalBytes,
  parseTrust,
  parseUtf8,
  readSignedCheckpoint,
  type Trust,
  toBase64,
  trustFingerprint,
  utf8,
} from '@countersign/protocol'
import { lockFile } from '../adapters/file/file-lock.ts'
import { FileHeadStore } from '../adapters/file/ledger-heads.ts'
import {
  BACKUP_FILE,
  BackupDamage,
  type BackupDocument,
  type CopiedFile,
  type CopiedLog,
} from '../backup/backup-document.ts'
import { isRestorable } from '../backup/folder-kinds.ts'
import { copyLog, deriveLog, nothingKnown } from '../backup/log-files.ts'
import { copyFile, readCopied, syncFolders, writeSynced } from '../backup/plain-files.ts'
import type { StoredHead } from '../ledger/store.ts'
import { systemFiles } from '../lib/durable-file.ts'
import { isInside, makeFolder, UnusableFile } from '../lib/named-path.ts'
import { copiedLogFolder, logFolder, readBackup, sumsPath } from './backup-target.ts'
import { slotFolders } from './log-slot.ts'
import { findNewest, type RestoredSlot, type RestoreRequest } from './restore-guard.ts'
import { formatRestored, RESTORED_FILE } from './restored-log.ts'

export interface RestoreReport extends Pick<BackupDocument, 'id' | 'at' | 'state'> {
  readonly dataDir: string
  readonly trustFingerprint: string
  readonly logs: readonly RestoredSlot[]
}

/**
 * Makes a data folder from a backup. Every file has to be what was copied, and each log has to lead
 * to its checkpoint, before the folder appears under its name. Rejects, with nothing in its place,
 * when any part is in doubt.
 */
export async function restoreBackup(request: RestoreRequest): Promise<RestoreReport> {
  const { config, folder, onStep } = request
  const { dataDir } = config
  const backup = await readBackup(folder)
  if (backup === null) {
    const next = 'name a folder that `countersign backup` has completed'
    throw new UnusableFile(`${folder} has no ${BACKUP_FILE}, so it is not a whole backup`, next)
  }
  await assertPlace(folder, dataDir)
  const trust = parseTrust(parseUtf8(await readListed(folder, backup, ofSet(backup, 'trust.json'))))
  onStep('Comparing the backup with what is known to be newest')
  const slots = await findNewest({ ...request, backup, trust })
  const staging = `${dataDir}.restoring`
  makeFolder(staging)
  const unlock = lockFile(join(staging, stagingLock), 'the folder of another restore')
  try {
    for (const name of await readdir(staging)) {
      if (name !== stagingLock) await rm(join(staging, name), { recursive: true, force: true })
    }
    await fill(staging, { request, backup, trust, slots })
    await rm(join(staging, stagingLock))
    await takePlace(staging, dataDir)
  } finally {
    unlock()
  }
  const { id, at, state } = backup
  return { id, at, state, dataDir, trustFingerprint: await trustFingerprint(trust), logs: slots }
}

const stagingLock = 'restore.lock'

async function assertPlace(folder: string, dataDir: string): Promise<void> {
  if (isInside(folder, dataDir) || isInside(dataDir, folder)) {
    throw new UnusableFile(`${folder} and ${dataDir} contain one another`, 'name another --data')
  }
  const names = await systemFiles.list(dataDir)
  if (names.length === 0) return
  const next = 'name a new folder by --data, or move that one away'
  throw new UnusableFile(`${dataDir} is not empty`, next)
}

interface Filling {
  readonly request: RestoreRequest
  readonly backup: BackupDocument
  readonly trust: Trust
  readonly slots: readonly RestoredSlot[]
}

async function fill(staging: string, { request, backup, trust, slots }: Filling): Promise<void> {
  const { folder, config, clock, onStep } = request
  onStep('Copying files and keys')
  for (const file of backup.files) await restoreFile(staging, { folder, backup, file })
  for (const log of backup.logs) {
    const { slot, size, headAt: at } = log
    onStep(`Deriving the log of slot ${slot}`)
    const checkpoint = await restoreLog(staging, { folder, backup, log, trust })
    const own = join(staging, 'ledger', slot)
    const missing = slots.find((each) => each.slot === slot)?.missing ?? null
    const restored = { v: 1, backupAt: backup.at, restoredAt: clock.now(), size, missing } as const
    await writeSynced(join(own, RESTORED_FILE), utf8(formatRestored(restored)))
    const { headDirectory } = slotFolders(config, slot)
    await writeHead(headDirectory ?? own, { size, at, checkpoint })
  }
  await syncFolders(staging)
}

interface Listed {
  readonly folder: string
  readonly backup: BackupDocument
  readonly file: CopiedFile
}

async function restoreFile(staging: string, { folder, backup, file }: Listed): Promise<void> {
  const part = file.path.startsWith('keys/') ? 'keys' : 'log'
  const prefix = `${part}/${backup.id}/`
  const path = file.path.slice(prefix.length)
  // The sums serve the check alone.
  const isSum = part === 'log' && path.startsWith('sums/')
  if (!file.path.startsWith(prefix) || !(isSum || isRestorable(part, path))) {
    throw new BackupDamage(`${file.path} is not a file of this backup`)
  }
  const to = isSum ? null : join(staging, path)
  const found = await copyFile(join(folder, file.path), to)
  if (found === null) throw new BackupDamage(`${file.path} is missing`)
  if (found.bytes === file.bytes && found.sha256 === file.sha256) return
  throw new BackupDamage(`${file.path} is not what was backed up`)
}

interface RestoredLog {
  readonly folder: string
  readonly backup: BackupDocument
  readonly log: CopiedLog
  readonly trust: Trust
}

/** Resolves to the checkpoint. */
async function restoreLog(
  staging: string,
  { folder, backup, log, trust }: RestoredLog,
): Promise<string> {
  const { slot, size, origin } = log
  const note = await readListed(folder, backup, ofSet(backup, `ledger/${slot}/log/checkpoint`))
  const checkpoint = await readSignedCheckpoint(note, trust)
  const { root } = checkpoint
  if (checkpoint.origin !== origin || checkpoint.size !== size || toBase64(root) !== log.root) {
    throw new BackupDamage(`the checkpoint of slot ${slot} is not the one of the backup`)
  }
  const sums = await readListed(folder, backup, sumsPath(backup.id, slot))
  const from = logFolder(copiedLogFolder(folder, slot))
  const to = logFolder(join(staging, 'ledger', slot, 'log'))
  const copied = await copyLog(from, to, size, nothingKnown)
  if (!equalBytes(copied.sums, sums)) {
    throw new BackupDamage(`a detail bundle of slot ${slot} is not what was backed up`)
  }
  await deriveLog(to.resources, { size, root, sums, from: 0 })
  return parseUtf8(note)
}

function ofSet({ id }: BackupDocument, path: string): string {
  return `log/${id}/${path}`
}

async function readListed(
  folder: string,
  { files }: BackupDocument,
  path: string,
): Promise<Uint8Array> {
  const listed = files.find((file) => file.path === path)
  const bytes = listed === undefined ? null : await readCopied(join(folder, path), listed)
  if (bytes === null) throw new BackupDamage(`${path} is not what was backed up`)
  return bytes
}

/** The store of heads of a slot may be apart from its log, and have an older head. */
async function writeHead(directory: string, head: StoredHead): Promise<void> {
  makeFolder(directory)
  const heads = new FileHeadStore(systemFiles, directory)
  try {
    const former = await heads.load()
    await heads.replace(former?.head.size ?? null, head)
  } finally {
    await heads.close()
  }
}

async function takePlace(staging: string, dataDir: string): Promise<void> {
  if ((await systemFiles.list(dirname(dataDir))).includes(basenameOf(dataDir))) await rmdir(dataDir)
  await systemFiles.rename(staging, dataDir)
  await systemFiles.syncDirectory(dirname(dataDir))
}

function basenameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
