import { createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto'
import {
  type Checkpoint,
  equalBytes,
  formatCheckpoint,
  formatNote,
  formatVkey,
  noteKeyIdWith,
  noteKeyType,
  parseCheckpoint,
  parseNote,
  utf8,
} from '@countersign/protocol'
import { formatRetentionText, parseRetentionText, type RetentionNote } from './retention-note.ts'
import { LedgerDamage } from './store.ts'

/** Checks the log's own heads (C2SP tlog-checkpoint, signed-note). */
export class CheckpointVerifier {
  readonly vkey: string
  readonly publicKey: Uint8Array
  protected readonly origin: string
  protected readonly keyId: Uint8Array
  readonly #public: KeyObject

  constructor(origin: string, publicKey: KeyObject) {
    this.origin = origin
    this.#public = publicKey
    this.publicKey = rawPublicKey(publicKey)
    const key = { name: origin, type: noteKeyType.ed25519, publicKey: this.publicKey }
    this.keyId = noteKeyIdWith((bytes) => hash('sha256', bytes, 'buffer'), key)
    this.vkey = formatVkey({ ...key, keyId: this.keyId })
  }

  /** Throws LedgerDamage unless the note is a head of this log under this key. */
  parseSigned(note: string): Checkpoint {
    try {
      const { text, signatures } = parseNote(note)
      const checkpoint = parseCheckpoint(text)
      const own = signatures.find(({ keyId }) => equalBytes(keyId, this.keyId))
      if (checkpoint.origin !== this.origin || own?.name !== this.origin) {
        throw new LedgerDamage('the checkpoint is that of another log')
      }
      if (!verify(null, utf8(text), this.#public, own.signature)) {
        throw new LedgerDamage('the signature of the checkpoint is wrong')
      }
      return checkpoint
    } catch (cause) {
      if (cause instanceof LedgerDamage) throw cause
      throw new LedgerDamage('the checkpoint is malformed', { cause })
    }
  }

  /** As `parseSigned`, for the statement about the entries that were pruned. */
  parseRetention(note: string): RetentionNote {
    try {
      const { text, signatures } = parseNote(note)
      const own = signatures.find(({ keyId }) => equalBytes(keyId, this.keyId))
      if (own?.name !== this.origin || !verify(null, utf8(text), this.#public, own.signature)) {
        throw new LedgerDamage('the retention note is not signed by the key of this log')
      }
      return parseRetentionText(text, this.origin)
    } catch (cause) {
      if (cause instanceof LedgerDamage) throw cause
      throw new LedgerDamage('the retention note is malformed', { cause })
    }
  }
}

/** Signs the log's own heads as well. */
export class CheckpointKey extends CheckpointVerifier {
  readonly #private: KeyObject

  constructor(origin: string, logKey: KeyObject) {
    super(origin, createPublicKey(logKey))
    this.#private = logKey
  }

  signCheckpoint(size: number, root: Uint8Array): string {
    return this.#sign(formatCheckpoint({ origin: this.origin, size, root }))
  }

  signRetention(retention: RetentionNote): string {
    return this.#sign(formatRetentionText(retention, this.origin))
  }

  #sign(text: string): string {
    const signature = new Uint8Array(sign(null, utf8(text), this.#private))
    return formatNote(text, [{ name: this.origin, keyId: this.keyId, signature }])
  }
}

/** The 32 bytes of an Ed25519 key, private or public. */
export function rawPublicKey(key: KeyObject): Uint8Array {
  const { kty, crv, x } = (key.type === 'private' ? createPublicKey(key) : key).export({
    format: 'jwk',
  })
  if (kty !== 'OKP' || crv !== 'Ed25519' || x === undefined) {
    throw new TypeError('the key is not an Ed25519 key')
  }
  return new Uint8Array(Buffer.from(x, 'base64url'))
}
