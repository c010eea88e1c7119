import { LedgerDamage } from './store.ts'
import { type SubjectFileKey, subjectKeyBytes } from './subject-file.ts'

/** The one secret that holds the subject key of a log slot: `ledger/<slot>/subjects`. */
export interface SubjectKeyStore {
  /** Null before the first start. */
  load(): Promise<Uint8Array | null>
  /** On resolve the value is durable, and the one before cannot be read any more. */
  store(value: Uint8Array): Promise<void>
}

const recordBytes = 4 + subjectKeyBytes

/**
 * `u8 count ‖ count × ( u32 generation ‖ key(32) )`, oldest first: one key, and a second one while
 * an erasure replaces the file that the first one wraps.
 */
export function writeSubjectKeys(keys: readonly SubjectFileKey[]): Uint8Array {
  const value = Buffer.alloc(1 + keys.length * recordBytes)
  value[0] = keys.length
  for (const [i, { generation, key }] of keys.entries()) {
    value.writeUInt32BE(generation, 1 + i * recordBytes)
    value.set(key, 5 + i * recordBytes)
  }
  return value
}

/** Throws LedgerDamage for anything else than `writeSubjectKeys` gives. */
export function readSubjectKeys(value: Uint8Array): readonly SubjectFileKey[] {
  const count = value[0] ?? 0
  if (count < 1 || count > 2 || value.length !== 1 + count * recordBytes) {
    throw new LedgerDamage('the subject key of this log is malformed')
  }
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  return Array.from({ length: count }, (_, i) => {
    const at = 1 + i * recordBytes
    return { generation: view.getUint32(at), key: value.slice(at + 4, at + recordBytes) }
  })
}
