import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
} from 'node:crypto'
import type { Random } from '../lib/random.ts'
import { LedgerDamage } from './store.ts'

const version = 1
const sessionBytes = 16
const nonceBytes = 12
const tagBytes = 16
const headBytes = 1 + sessionBytes
const keyBytes = 32
/** One key per start of the ledger; more are derived again when an old detail is read. */
const openingKeysMax = 64
const algorithm = 'aes-256-gcm'

/**
 * Encrypts what the leaf only commits to: `version ‖ session ‖ ciphertext ‖ tag`.
 *
 * Each start of the ledger derives a key of its own from a random session, and the nonce is the
 * entry's index. An index is sealed once per session, so no nonce repeats, not even after a crash
 * that forgot a record; a random nonce under one key for life would come near its bound within
 * days of full load (NIST SP 800-38D, section 8.3).
 */
export class DetailVault {
  readonly #detailKey: Uint8Array
  readonly #origin: string
  readonly #session: Uint8Array
  readonly #sealingKey: KeyObject
  readonly #openingKeys = new Map<string, KeyObject>()

  constructor(detailKey: Uint8Array, origin: string, random: Random) {
    if (detailKey.length !== keyBytes) throw new TypeError('the detail key is 32 bytes')
    this.#detailKey = detailKey
    this.#origin = origin
    this.#session = random(sessionBytes)
    this.#sealingKey = this.#derive(this.#session)
  }

  seal(index: number, plaintext: Uint8Array): Buffer {
    const cipher = createCipheriv(algorithm, this.#sealingKey, nonceOf(index))
    cipher.setAAD(this.#bound(index))
    const sealed = Buffer.allocUnsafe(headBytes + plaintext.length + tagBytes)
    sealed[0] = version
    sealed.set(this.#session, 1)
    sealed.set(cipher.update(plaintext), headBytes)
    cipher.final()
    sealed.set(cipher.getAuthTag(), headBytes + plaintext.length)
    return sealed
  }

  /** Throws LedgerDamage on a detail of another entry, of another log, or changed in any bit. */
  unseal(index: number, sealed: Uint8Array): Buffer {
    if (sealed[0] !== version || sealed.length < headBytes + tagBytes) {
      throw new LedgerDamage(`the detail of entry ${index} is malformed`)
    }
    const key = this.#openingKey(sealed.subarray(1, headBytes))
    const decipher = createDecipheriv(algorithm, key, nonceOf(index), { authTagLength: tagBytes })
    decipher.setAAD(this.#bound(index))
    decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes))
    const plaintext = decipher.update(sealed.subarray(headBytes, sealed.length - tagBytes))
    try {
      decipher.final()
    } catch (cause) {
      throw new LedgerDamage(`the detail of entry ${index} was changed`, { cause })
    }
    return plaintext
  }

  #openingKey(session: Uint8Array): KeyObject {
    const name = Buffer.from(session).toString('hex')
    let key = this.#openingKeys.get(name)
    if (key === undefined) {
      key = this.#derive(session)
      if (this.#openingKeys.size >= openingKeysMax) this.#openingKeys.clear()
      this.#openingKeys.set(name, key)
    }
    return key
  }

  #derive(session: Uint8Array): KeyObject {
    const info = `countersign ledger detail v${version}`
    const key = hkdfSync('sha256', this.#detailKey, session, info, keyBytes)
    return createSecretKey(new Uint8Array(key))
  }

  #bound(index: number): Buffer {
    return Buffer.from(`${this.#origin}|${index}`)
  }
}

function nonceOf(index: number): Buffer {
  const nonce = Buffer.alloc(nonceBytes)
  // Indexes are below 2^48: at a million entries a second, nine years.
  nonce.writeUIntBE(index, nonceBytes - 6, 6)
  return nonce
}
