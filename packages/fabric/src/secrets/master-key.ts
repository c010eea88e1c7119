/**
 * Sources of the master key. There is only a default location for a random key, not a default key.
 */
export type MasterKeyPlace =
  /** 32 bytes, raw or in base64, for the owner's eyes only; made on the first start. */
  | { readonly from: 'key-file'; readonly path: string }
  /** A passphrase of at least 16 characters, for the owner's eyes only; stretched with scrypt. */
  | { readonly from: 'passphrase-file'; readonly path: string }
  /** 32 bytes in base64, as the configuration read it from the environment. */
  | { readonly from: 'environment'; readonly value: string }
  /** An entry of the operating system's keyring; made on the first start. */
  | { readonly from: 'keyring'; readonly account: string }

/** The operating system's keyring, as far as a master key needs it. */
export interface Keyring {
  /** Null if the entry does not exist; rejects if the keyring is locked or absent. */
  find(account: string): Promise<Uint8Array | null>
  put(account: string, key: Uint8Array): Promise<void>
}
