import { LedgerDamage } from './store.ts'

/** The key of one generation of a file: an erasure replaces the file and the key. */
export interface ReplacedKey {
  readonly generation: number
  /** 32 bytes. */
  readonly key: Uint8Array
}

export const replacedKeyBytes = 32

/** The one secret that holds the key of a file which erasures replace. */
export interface ReplacedKeyStore {
  /** Null before the first start. */
  load(): Promise<Uint8Array | null>
  /** On resolve the value is durable, and the one before cannot be read any more. */
  store(value: Uint8Array): Promise<void>
}

const recordBytes = 4 + replacedKeyBytes

/**
 * `u8 count ‖ count × ( u32 generation ‖ key(32) )`, oldest first: one key, and a second one while
 * an erasure replaces the file of the first one.
 */
export function writeReplacedKeys(keys: readonly ReplacedKey[]): Uint8Array {
  const value = Buffer.alloc(1 + keys.length * recordBytes)
  value[0] = keys.length
  for (const [i, { generation, key }] of keys.entries()) {
    value.writeUInt32BE(generation, 1 + i * recordBytes)
    value.set(key, 5 + i * recordBytes)
  }
  return value
}

/** Throws LedgerDamage, with `what` it is, for anything else than `writeReplacedKeys` gives. */
export function readReplacedKeys(value: Uint8Array, what: string): readonly ReplacedKey[] {
  const count = value[0] ?? 0
  if (count < 1 || count > 2 || value.length !== 1 + count * recordBytes) {
    throw new LedgerDamage(`${what} is malformed`)
  }
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  return Array.from({ length: count }, (_, i) => {
    const at = 1 + i * recordBytes
    return { generation: view.getUint32(at), key: value.slice(at + 4, at + recordBytes) }
  })
}
