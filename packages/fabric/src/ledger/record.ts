import { parseUtf8, utf8 } from '@countersign/protocol'
import { LedgerDamage, type StoredHead } from './store.ts'

/** A leaf with its encrypted detail: what the ledger keeps for one index. */
export interface LoggedEntry {
  readonly leaf: Uint8Array
  readonly detail: Uint8Array
}

export interface CommitRecord {
  readonly entries: readonly LoggedEntry[]
  /** The head after these entries. */
  readonly head: Omit<StoredHead, 'size'>
}

const rowBytes = 2 + 4
const fixedBytes = 4 + 8 + 2

/**
 * A write-ahead record without its frame: `uint32 count ‖ uint64 time ‖ uint16 length of checkpoint
 * ‖ count × (uint16, uint32 lengths) ‖ count × (leaf ‖ detail) ‖ checkpoint`, in parts that do
 * not have to be copied.
 */
export function encodeRecord({ entries, head }: CommitRecord): readonly Uint8Array[] {
  const checkpoint = utf8(head.checkpoint)
  const table = Buffer.allocUnsafe(fixedBytes + rowBytes * entries.length)
  let at = table.writeUInt32BE(entries.length, 0)
  at = table.writeBigUInt64BE(BigInt(head.at), at)
  at = table.writeUInt16BE(checkpoint.length, at)
  const parts: Uint8Array[] = [table]
  for (const { leaf, detail } of entries) {
    at = table.writeUInt16BE(leaf.length, at)
    at = table.writeUInt32BE(detail.length, at)
    parts.push(leaf, detail)
  }
  parts.push(checkpoint)
  return parts
}

/**
 * The entries are copies. Throws LedgerDamage on everything that `encodeRecord` would not write.
 */
export function parseRecord(body: Uint8Array): CommitRecord {
  const bytes = Buffer.from(body)
  try {
    const count = bytes.readUInt32BE(0)
    const head = Number(bytes.readBigUInt64BE(4))
    const checkpointLength = bytes.readUInt16BE(12)
    const entries: LoggedEntry[] = []
    let at = fixedBytes + rowBytes * count
    for (let i = 0; i < count; i++) {
      const row = fixedBytes + rowBytes * i
      const middle = at + bytes.readUInt16BE(row)
      const end = middle + bytes.readUInt32BE(row + 2)
      if (end > bytes.length) throw new RangeError('an entry ends beyond the record')
      entries.push({ leaf: bytes.subarray(at, middle), detail: bytes.subarray(middle, end) })
      at = end
    }
    if (at + checkpointLength !== bytes.length) throw new RangeError('the lengths do not add up')
    return { entries, head: { at: head, checkpoint: parseUtf8(bytes.subarray(at)) } }
  } catch (cause) {
    throw new LedgerDamage('a write-ahead record is malformed', { cause })
  }
}
