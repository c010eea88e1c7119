import { lstatSync } from 'node:fs'
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { utf8 } from '@countersign/protocol'
import { lockFile, type Unlock } from '../adapters/file/file-lock.ts'
import { FileResourceStore } from '../adapters/file/ledger-resources.ts'
import {
  BACKUP_FILE,
  BackupDamage,
  type BackupDocument,
  type CopiedFile,
  formatBackup,
  parseBackup,
} from '../backup/backup-document.ts'
import { filesOfLog, type KnownPart, type LogFolder, nothingKnown } from '../backup/log-files.ts'
import {
  copyFile,
  readCopied,
  replaceSynced,
  syncFolders,
  writeSynced,
} from '../backup/plain-files.ts'
import { ledgerLimits } from '../ledger/limits.ts'
import { removePruned } from '../ledger/prune-files.ts'
import { tilePath } from '../ledger/tiles.ts'
import { readWhole, systemFiles } from '../lib/durable-file.ts'
import { makeFolder, UnusableFile } from '../lib/named-path.ts'

/** In a folder whose first backup is not complete. */
const unfinishedFile = 'unfinished'
const lockName = 'lock'
/** As many files as a backup may list, with the longest paths. */
const documentBytesMax = 128 * 1024 * 1024

/** The folder of the tiles of a log, in the target. */
export function copiedLogFolder(target: string, slot: string): string {
  return join(target, 'log', 'ledger', slot)
}

/** The files of a log, in a folder of its own. */
export function logFolder(root: string): LogFolder {
  return {
    resources: new FileResourceStore(systemFiles, root),
    async sizeOf(path) {
      const found = await stat(join(root, path)).catch(() => null)
      return found?.size ?? null
    },
  }
}

/** The sums of the detail bundles of a log, among the files of one backup. */
export function sumsPath(id: string, slot: string): string {
  return `log/${id}/sums/${slot}`
}

export async function readBackup(folder: string): Promise<BackupDocument | null> {
  const path = join(folder, BACKUP_FILE)
  const file = await systemFiles.open(path, 'read')
  if (file === null) return null
  try {
    return parseBackup(Buffer.from(await readWhole(file, path, documentBytesMax)).toString())
  } finally {
    await file.close()
  }
}

/**
 * The folder that receives a backup. The files of each backup are in folders of its own, except
 * tiles, which never change: until `commit`, the backup before stays whole.
 */
export class BackupTarget {
  readonly folder: string
  readonly id: string
  /** The backup that is in the folder; null before the first one. */
  readonly former: BackupDocument | null
  readonly #files: CopiedFile[] = []
  readonly #unlock: Unlock

  private constructor(folder: string, id: string, former: BackupDocument | null, unlock: Unlock) {
    this.folder = folder
    this.id = id
    this.former = former
    this.#unlock = unlock
  }

  /** Rejects for a folder with other files, or with a backup of another fabric. */
  static async open(
    folder: string,
    { id, trustFingerprint }: Pick<BackupDocument, 'id' | 'trustFingerprint'>,
  ): Promise<BackupTarget> {
    makeFolder(folder)
    const strays = (await readdir(folder)).filter((name) => name !== lockName)
    if (strays.length > 0 && !strays.includes(BACKUP_FILE) && !strays.includes(unfinishedFile)) {
      const next = 'name an empty folder, or one that an earlier backup of this fabric has made'
      throw new UnusableFile(`${folder} is not empty, and is not a backup`, next)
    }
    for (const each of ['log', 'log/ledger', 'keys']) assertNoLink(join(folder, each))
    const unlock = lockFile(join(folder, lockName), 'the folder of the backup')
    try {
      const former = await readBackup(folder)
      if (former !== null && former.trustFingerprint !== trustFingerprint) {
        throw new UnusableFile(`${folder} is a backup of another fabric`, 'name another folder')
      }
      const target = new BackupTarget(folder, id, former, unlock)
      await target.#clear()
      return target
    } catch (error) {
      unlock()
      throw error
    }
  }

  /** Removes what a run that did not end has left. */
  async #clear(): Promise<void> {
    if (this.former === null) {
      await replaceSynced(join(this.folder, unfinishedFile), utf8(''))
      for (const part of ['log', 'keys']) await this.#remove(part)
      return
    }
    await this.#removeOthers(this.former)
  }

  async #removeOthers({ id }: Pick<BackupDocument, 'id'>): Promise<void> {
    const keep = new Set(['ledger', id])
    for (const part of ['log', 'keys']) {
      const names = await systemFiles.list(join(this.folder, part))
      for (const name of names) if (!keep.has(name)) await this.#remove(`${part}/${name}`)
    }
    await this.#remove(unfinishedFile)
  }

  #remove(path: string): Promise<void> {
    return rm(join(this.folder, path), { recursive: true, force: true })
  }

  /** The part of a log that the backup before has, with sums that it vouches for. */
  async known(slot: string): Promise<KnownPart> {
    const log = this.former?.logs.find((each) => each.slot === slot)
    if (this.former === null || log === undefined) return nothingKnown
    const path = sumsPath(this.former.id, slot)
    const bytes = await this.#readFormer(path)
    return { size: log.size, sums: bytes }
  }

  async #readFormer(path: string): Promise<Uint8Array> {
    const stated = this.former?.files.find((each) => each.path === path)
    const found = stated && (await readCopied(join(this.folder, path), stated))
    if (found) return found
    throw new BackupDamage(`${path} is not what the backup before has written`)
  }

  pathOf(part: 'log' | 'keys', path: string): string {
    return join(this.folder, part, this.id, path)
  }

  /** False where the file does not exist. */
  async copy(part: 'log' | 'keys', path: string, from: string): Promise<boolean> {
    const sum = await copyFile(from, this.pathOf(part, path))
    if (sum !== null) this.#add({ path: `${part}/${this.id}/${path}`, ...sum })
    return sum !== null
  }

  async write(path: string, bytes: Uint8Array): Promise<void> {
    this.#add({ path, ...(await writeSynced(join(this.folder, path), bytes)) })
  }

  /** Of a file that was written to `pathOf`, and synced. */
  async written(part: 'log' | 'keys', path: string): Promise<void> {
    const sum = await copyFile(this.pathOf(part, path), null)
    if (sum !== null) this.#add({ path: `${part}/${this.id}/${path}`, ...sum })
  }

  #add(file: CopiedFile): void {
    const at = this.#files.findIndex(({ path }) => path === file.path)
    if (at >= 0) this.#files.splice(at, 1)
    this.#files.push(file)
  }

  /** For another attempt. */
  async forgetKeys(): Promise<void> {
    await this.#remove(`keys/${this.id}`)
    const others = this.#files.filter(({ path }) => !path.startsWith('keys/'))
    this.#files.splice(0, this.#files.length, ...others)
  }

  sumOf(path: string): string | null {
    return this.#files.find((each) => each.path === path)?.sha256 ?? null
  }

  /** Everything is durable first; then the new backup takes the place of the one before. */
  async commit(document: Omit<BackupDocument, 'v' | 'id' | 'files'>): Promise<BackupDocument> {
    for (const part of ['log', 'keys']) await syncFolders(join(this.folder, part, this.id))
    for (const part of ['log/ledger', 'log', 'keys', '.']) {
      makeFolder(join(this.folder, part))
      await systemFiles.syncDirectory(join(this.folder, part))
    }
    const whole: BackupDocument = { ...document, v: 1, id: this.id, files: this.#files }
    await replaceSynced(join(this.folder, BACKUP_FILE), utf8(formatBackup(whole)))
    await this.#removeOthers(whole)
    for (const { slot, minimum } of whole.logs) await this.#removePruned(slot, minimum ?? 0)
    for (const { slot, size } of this.former?.logs ?? []) {
      await this.#removePartials(slot, size, whole)
    }
    return whole
  }

  /** Bundles of a backup before that the log has pruned since. */
  async #removePruned(slot: string, minimum: number): Promise<void> {
    if (minimum === 0) return
    const { resources } = logFolder(copiedLogFolder(this.folder, slot))
    const { segmentEntries, termSegmentEntries } = ledgerLimits
    const parts = { resources, minimum, segmentEntries, termSegmentEntries, pauseMs: 0 }
    const { faults } = await removePruned({ ...parts, isStopped: () => false })
    if (faults.length > 0)
      throw new Error(`pruned entries stay in the backup: ${faults.join('; ')}`)
  }

  async #removePartials(slot: string, size: number, { logs }: BackupDocument): Promise<void> {
    const now = logs.find((log) => log.slot === slot)
    if (now === undefined) return
    const needed = new Set<string>()
    for (const { kind, tile, width } of partialsOf(now.size))
      needed.add(tilePath(kind, tile, width))
    for (const { kind, tile, width } of partialsOf(size)) {
      const path = tilePath(kind, tile, width)
      if (!needed.has(path))
        await systemFiles.remove(join(copiedLogFolder(this.folder, slot), path))
    }
  }

  close(): void {
    this.#unlock()
  }
}

/** A run removes and writes files below it. */
function assertNoLink(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined || found.isDirectory()) return
  const next = 'name an empty folder, and keep this one as it is'
  throw new UnusableFile(`${path} is not a folder, or a link to one`, next)
}

function* partialsOf(size: number) {
  for (const file of filesOfLog(size)) {
    if (file.width === 256) return
    yield file
  }
}
