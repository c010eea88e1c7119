import { join } from 'node:path'
import { readSignedCheckpoint, type Trust, toBase64 } from '@countersign/protocol'
import { BackupDamage, type BackupDocument, type CopiedLog } from '../backup/backup-document.ts'
import { readCopied } from '../backup/plain-files.ts'

/** A backup, and the folder that has it. */
export interface RestoreSource {
  readonly folder: string
  readonly backup: BackupDocument
}

/** A checkpoint with every signature that a verifier accepts is far below. */
const checkpointBytesMax = 65_536

export function ofSet({ id }: Pick<BackupDocument, 'id'>, path: string): string {
  return `log/${id}/${path}`
}

/** Rejects with BackupDamage unless the file is the listed one, and has at most `bytesMax`. */
export async function readListed(
  { folder, backup }: RestoreSource,
  path: string,
  bytesMax: number,
): Promise<Uint8Array> {
  const listed = backup.files.find((file) => file.path === path)
  const isOne = listed !== undefined && listed.bytes <= bytesMax
  const bytes = isOne ? await readCopied(join(folder, path), listed) : null
  if (bytes === null) throw new BackupDamage(`${path} is not what was backed up`)
  return bytes
}

/**
 * The checkpoint of a log, as its key signed it. Every reader of a restore takes it from here: what
 * the guard compares is then what is restored, also where the folder is changed in between.
 */
export async function readLogCheckpoint(
  source: RestoreSource,
  { slot, size, origin, root }: CopiedLog,
  trust: Trust,
): Promise<Uint8Array> {
  const path = ofSet(source.backup, `ledger/${slot}/log/checkpoint`)
  const note = await readListed(source, path, checkpointBytesMax)
  const read = await readSignedCheckpoint(note, trust)
  if (read.origin === origin && read.size === size && toBase64(read.root) === root) return note
  throw new BackupDamage(`the checkpoint of slot ${slot} is not the one of the backup`)
}
