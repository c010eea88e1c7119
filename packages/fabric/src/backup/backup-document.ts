import { createHash } from 'node:crypto'
import { isSlotName } from '@countersign/protocol'
import { z } from 'zod'

/** The file that makes a folder a backup; it is written last. */
export const BACKUP_FILE = 'backup.json'

const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
/** Relative, and never upwards. */
const path = z
  .string()
  .max(1024)
  .refine((text) => text.split('/').every((part) => part !== '' && part !== '.' && part !== '..'))
const fileSchema = z.strictObject({ path, bytes: z.int().min(0), sha256 })

const documentSchema = z.strictObject({
  v: z.literal(1),
  /** Names the folders of this backup, `log/<id>` and `keys/<id>`. */
  id: z.string().regex(/^[0-9TZ-]{16,32}[0-9a-f]{8}$/),
  /** Unix milliseconds at which it began. */
  at: z.int().min(0),
  /** As `countersign up` prints it. */
  trustFingerprint: z.string(),
  state: z.enum(['sqlite', 'postgresql']),
  logs: z
    .array(
      z.strictObject({
        slot: z.string().refine(isSlotName),
        origin: z.string(),
        size: z.int().min(1),
        /** The first entry that is left, where entries before it were pruned. */
        minimum: z.int().min(1).optional(),
        /** Base64. */
        root: z.string(),
        /** Unix milliseconds of the newest head of the log. */
        headAt: z.int().min(0),
      }),
    )
    .min(1)
    .max(64),
  /** Every file below `log/<id>` and `keys/<id>`. */
  files: z.array(fileSchema).max(100_000),
})

export type BackupDocument = Readonly<z.infer<typeof documentSchema>>
export type CopiedFile = BackupDocument['files'][number]
export type CopiedLog = BackupDocument['logs'][number]

/** The backup contradicts itself: files are missing, altered, or of another backup. */
export class BackupDamage extends Error {
  override readonly name = 'BackupDamage'
}

export function formatBackup(document: BackupDocument): string {
  // In the order of the schema, so that there is one text for one backup.
  const ordered = documentSchema.parse(document)
  return `${JSON.stringify({ ...ordered, sha256: digest(JSON.stringify(ordered)) })}\n`
}

/** Throws BackupDamage for anything that `formatBackup` did not write. */
export function parseBackup(text: string): BackupDocument {
  let parsed: BackupDocument
  try {
    const { sha256: _, ...rest } = JSON.parse(text) as Readonly<Record<string, unknown>>
    parsed = documentSchema.parse(rest)
  } catch (cause) {
    throw new BackupDamage(`${BACKUP_FILE} cannot be read`, { cause })
  }
  if (formatBackup(parsed) !== text) throw new BackupDamage(`${BACKUP_FILE} was altered`)
  return parsed
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
