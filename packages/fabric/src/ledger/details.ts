import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
} from 'node:crypto'
import { leafVersion } from '@countersign/protocol'
import { hmacSha256 } from '../lib/hmac.ts'
import type { Random } from '../lib/random.ts'
import { LedgerDamage } from './store.ts'

const sessionBytes = 16
const tagBytes = 16
const subjectsAt = 1 + sessionBytes
const headBytes = subjectsAt + 1
const keyBytes = 32
const indexBytes = 8
/** One key per start of the ledger; more are derived again when an old detail is read. */
const openingKeysMax = 64
const algorithm = 'aes-256-gcm'
/** A key encrypts once, so that the nonce of NIST SP 800-38D need not differ. */
const nonce = Buffer.alloc(12)

/**
 * Encrypts what the leaf only commits to: `0x02 ‖ session(16) ‖ u8 count of subjects, 0 ‖
 * ciphertext ‖ tag(16)`.
 *
 * Each start of the ledger derives a session key from a random session, and each entry has the key
 * HMAC-SHA-256(session key, u64 index). An index is sealed once per session, so no key encrypts
 * twice, not even after a crash that forgot a record. The key of an entry opens this one and no
 * other.
 */
export class DetailVault {
  readonly #detailKey: Uint8Array
  readonly #origin: Buffer
  readonly #session: Uint8Array
  readonly #sealingKey: Uint8Array
  readonly #openingKeys = new Map<string, Uint8Array>()
  #sealedLast = -1

  constructor(detailKey: Uint8Array, origin: string, random: Random) {
    if (detailKey.length !== keyBytes) throw new TypeError('the detail key is 32 bytes')
    this.#detailKey = detailKey
    this.#origin = Buffer.from(origin)
    this.#session = random(sessionBytes)
    this.#sealingKey = this.#derive(this.#session)
  }

  /** Throws a RangeError unless `index` is above the last one: its key would encrypt twice. */
  seal(index: number, plaintext: Uint8Array): Buffer {
    if (index <= this.#sealedLast) throw new RangeError(`the detail of entry ${index} is sealed`)
    this.#sealedLast = index
    const bound = this.#bound(index)
    const cipher = createCipheriv(algorithm, entryKey(this.#sealingKey, bound), nonce)
    cipher.setAAD(bound)
    const sealed = Buffer.allocUnsafe(headBytes + plaintext.length + tagBytes)
    sealed[0] = leafVersion
    sealed.set(this.#session, 1)
    sealed[subjectsAt] = 0
    sealed.set(cipher.update(plaintext), headBytes)
    cipher.final()
    sealed.set(cipher.getAuthTag(), headBytes + plaintext.length)
    return sealed
  }

  /** Throws LedgerDamage on a detail of another entry, of another log, or changed in any bit. */
  unseal(index: number, sealed: Uint8Array): Buffer {
    const isKnown = sealed[0] === leafVersion && sealed[subjectsAt] === 0
    if (!isKnown || sealed.length < headBytes + tagBytes) {
      throw new LedgerDamage(`the detail of entry ${index} is malformed`)
    }
    const bound = this.#bound(index)
    const key = entryKey(this.#openingKey(sealed.subarray(1, subjectsAt)), bound)
    const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: tagBytes })
    decipher.setAAD(bound)
    decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes))
    const plaintext = decipher.update(sealed.subarray(headBytes, sealed.length - tagBytes))
    try {
      decipher.final()
    } catch (cause) {
      throw new LedgerDamage(`the detail of entry ${index} was changed`, { cause })
    }
    return plaintext
  }

  #openingKey(session: Uint8Array): Uint8Array {
    const name = Buffer.from(session).toString('hex')
    let key = this.#openingKeys.get(name)
    if (key === undefined) {
      key = this.#derive(session)
      if (this.#openingKeys.size >= openingKeysMax) this.#openingKeys.clear()
      this.#openingKeys.set(name, key)
    }
    return key
  }

  #derive(session: Uint8Array): Uint8Array {
    const info = `countersign-detail-v${leafVersion}`
    return new Uint8Array(hkdfSync('sha256', this.#detailKey, session, info, keyBytes))
  }

  /** `u64 index ‖ origin`: the additional data, whose first part makes the key. */
  #bound(index: number): Buffer {
    const bound = Buffer.allocUnsafe(indexBytes + this.#origin.length)
    bound.writeBigUInt64BE(BigInt(index), 0)
    bound.set(this.#origin, indexBytes)
    return bound
  }
}

/** As a KeyObject: for raw bytes, Node throws and catches two errors, which cost 15 µs. */
function entryKey(sessionKey: Uint8Array, bound: Buffer): KeyObject {
  return createSecretKey(hmacSha256(sessionKey, bound.subarray(0, indexBytes)))
}
