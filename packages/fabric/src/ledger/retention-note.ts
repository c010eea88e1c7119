import { parseBase64, toBase64 } from '@countersign/protocol'
import { LedgerDamage } from './store.ts'
import { hashBytes, tileWidth } from './tiles.ts'

/** The public file that states which entries were pruned, next to `checkpoint`. */
export const RETENTION_FILE = 'retention'

/** The statement of a log about its pruned entries (docs/decisions/0018, "Retention"). */
export interface RetentionNote {
  /** The index of the first entry whose bundle is served (C2SP tlog-tiles). */
  readonly minimum: number
  /** RFC 6962 root over the first `minimum` entries. */
  readonly root: Uint8Array
  /** The index of the entry that records the pruning. */
  readonly entry: number
  /** Days for which the policy keeps entries. */
  readonly keepDays: number
  /** SHA-256 of the policy. */
  readonly policy: Uint8Array
  /** SHA-256 of the file with what the log still knows about them. */
  readonly state: Uint8Array
}

const suffix = '/retention'
const lines = 7

/** Seven lines; a checkpoint has three, and another first line. */
export function formatRetentionText(note: RetentionNote, origin: string): string {
  const { minimum, root, entry, keepDays, policy, state } = note
  const hashes = [root, policy, state].map((bytes) => toBase64(bytes))
  return `${[origin + suffix, minimum, entry, keepDays, ...hashes].join('\n')}\n`
}

/** Throws LedgerDamage for every text that `formatRetentionText` would not have written. */
export function parseRetentionText(text: string, origin: string): RetentionNote {
  const [, minimum, entry, keepDays, root, policy, state] = text.split('\n')
  const note = {
    ...{ minimum: Number(minimum), entry: Number(entry), keepDays: Number(keepDays) },
    ...{ root: hashOf(root), policy: hashOf(policy), state: hashOf(state) },
  }
  const isWhole = [note.minimum, note.entry, note.keepDays].every(Number.isSafeInteger)
  const isPlaced = note.minimum > 0 && note.minimum % tileWidth === 0 && note.entry >= note.minimum
  if (!isWhole || !isPlaced || text.split('\n').length !== lines + 1) throw malformed()
  if (formatRetentionText(note, origin) !== text) throw malformed()
  return note
}

function hashOf(text = ''): Uint8Array {
  const bytes = parseBase64(text)
  if (bytes?.length !== hashBytes) throw malformed()
  return bytes
}

function malformed(): LedgerDamage {
  return new LedgerDamage('the retention note is malformed, or of another log')
}
