/**
 * The store of the fabric's own keys, sealed under the master key.
 *
 * Names are path-like (`ca/intermediate`, `ledger/signing`). A value is durable when `put`
 * resolves. `find` gives null for a name never stored, and rejects when a stored value does not
 * authenticate: a wrong master key or a changed file is a failure, never an absence.
 */
export interface SecretStore {
  find(name: string): Promise<Uint8Array | null>
  put(name: string, value: Uint8Array): Promise<void>
  /**
   * Stores `value` unless the name has one, also by another process at the same moment. Resolves to
   * the stored value: of several that start together, all go on with that of the first.
   */
  create(name: string, value: Uint8Array): Promise<Uint8Array>
  list(): Promise<readonly string[]>
  /**
   * Re-wraps every data key under a new master key; the old one opens nothing afterwards. Its
   * caller will be the rotation of the master key.
   */
  rotate(newMasterKey: Uint8Array): Promise<void>
}
