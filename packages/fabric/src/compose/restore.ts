import { lstatSync } from 'node:fs'
import { readdir, rm, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  equalBytes,
  parseTrust,
  parseUtf8,
  readSignedCheckpoint,
  type Trust,
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
import { DATA_FOLDER_KINDS, isRestorable, kindOf } from '../backup/folder-kinds.ts'
import { copyLog, deriveLog, nothingKnown, sumsLength } from '../backup/log-files.ts'
import { copyFile, syncFolders, writeSynced } from '../backup/plain-files.ts'
import { PrunedPart } from '../ledger/pruned-part.ts'
import { loadPruned } from '../ledger/retention.ts'
import type { StoredHead } from '../ledger/store.ts'
import { systemFiles } from '../lib/durable-file.ts'
import { isInside, makeFolder, UnusableFile } from '../lib/named-path.ts'
import { copiedLogFolder, logFolder, readBackup, sumsPath } from './backup-target.ts'
import { slotFolders } from './log-slot.ts'
import { findNewest, type RestoredSlot, type RestoreRequest } from './restore-guard.ts'
import { ofSet, readListed, readLogCheckpoint } from './restore-source.ts'
import { formatRestored, RESTORED_FILE } from './restored-log.ts'
import { verifierOf } from './stopped-logs.ts'

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
  const text = await readListed({ folder, backup }, ofSet(backup, 'trust.json'), trustBytesMax)
  const trust = parseTrust(parseUtf8(text))
  onStep('Comparing the backup with what is known to be newest')
  const slots = await findNewest({ ...request, backup, trust })
  const staging = `${dataDir}.restoring`
  makeFolder(staging)
  assertOwn(staging)
  const unlock = lockFile(join(staging, stagingLock), 'the folder of another restore')
  try {
    for (const name of await leftOf(staging)) {
      await rm(join(staging, name), { recursive: true, force: true })
    }
    await fill(staging, { request, backup, trust, slots })
    for (const name of [stagingLock, `${stagingLock}-journal`]) {
      await rm(join(staging, name), { force: true })
    }
    await takePlace(staging, dataDir)
  } finally {
    unlock()
  }
  const { id, at, state } = backup
  return { id, at, state, dataDir, trustFingerprint: await trustFingerprint(trust), logs: slots }
}

const stagingLock = 'restore.lock'
/** As `countersign verify` accepts one. */
const trustBytesMax = 1024 * 1024

/** The keys are copied into it, and it takes the place of the data folder. */
function assertOwn(staging: string): void {
  const found = lstatSync(staging)
  const isOwn = found.uid === (process.getuid?.() ?? found.uid) && (found.mode & 0o022) === 0
  if (found.isDirectory() && isOwn) return
  const next = 'move it away, or name another --data'
  throw new UnusableFile(`${staging} is a link, or another user can write to it`, next)
}

/** Everything that a restore before has left there. */
async function leftOf(staging: string): Promise<readonly string[]> {
  const names = (await readdir(staging)).filter((name) => !name.startsWith(stagingLock))
  const strange = names.find((name) => kindOf(DATA_FOLDER_KINDS, name) === null)
  if (strange === undefined) return names
  const next = 'move that folder away, or name another --data'
  throw new UnusableFile(`${join(staging, strange)} is not of a restore`, next)
}

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
  const found = await copyFile(join(folder, file.path), to, file.bytes)
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
  const { slot, size, minimum = 0 } = log
  const note = await readLogCheckpoint({ folder, backup }, log, trust)
  const { root } = await readSignedCheckpoint(note, trust)
  const path = sumsPath(backup.id, slot)
  const sums = await readListed({ folder, backup }, path, sumsLength(size))
  const from = logFolder(copiedLogFolder(folder, slot))
  const to = logFolder(join(staging, 'ledger', slot, 'log'))
  const key = verifierOf(trust, slot)
  const pruned = key === null ? new PrunedPart() : await loadPruned(to.resources, key)
  if (pruned.minimum !== minimum) {
    throw new BackupDamage(`the retention note of slot ${slot} is not the one of the backup`)
  }
  const copied = await copyLog(from, to, { size, minimum }, nothingKnown)
  if (!equalBytes(copied.sums, sums)) {
    throw new BackupDamage(`a detail bundle of slot ${slot} is not what was backed up`)
  }
  await deriveLog(to.resources, { size, minimum, root, sums, from: 0 })
  return parseUtf8(note)
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
