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
import { referenceBytes, type StoredSubject, subjectKeyBytes } from './subject-file.ts'

const sessionBytes = 16
const tagBytes = 16
const subjectsAt = 1 + sessionBytes
const headBytes = subjectsAt + 1
const keyBytes = 32
const indexBytes = 8
const subjectsMax = 255
/** One key per start of the ledger; more are derived again when an old detail is read. */
const openingKeysMax = 64
const algorithm = 'aes-256-gcm'
/** A key encrypts once, so that the nonce of NIST SP 800-38D need not differ. */
const nonce = Buffer.alloc(12)

export interface DetailVaultParts {
  /** 32 bytes, of the log slot. */
  readonly detailKey: Uint8Array
  readonly origin: string
  readonly subjects: SubjectKeys
}

/** Opens entries by the references of their subjects. */
export interface SubjectKeys {
  /** Null for a subject that was erased; throws LedgerDamage for a reference that is unknown. */
  keyOf(reference: Uint8Array): Uint8Array | null
}

/** The part of a subject that seals. */
export type SealingSubject = Pick<StoredSubject, 'reference' | 'key'>

/**
 * Encrypts what the leaf only commits to: `0x02 ‖ session(16) ‖ u8 count ‖ count × reference(16) ‖
 * ciphertext ‖ tag(16)`.
 *
 * Each start of the ledger derives a session key from a random session, and each entry has the key
 * HMAC-SHA-256(session key, u64 index ‖ keys of its subjects). An index is sealed once per session,
 * so no key encrypts twice, not even after a crash that forgot a record. The key of an entry opens
 * this one and no other, and none is left once one of its subjects is erased.
 */
export class DetailVault {
  readonly #detailKey: Uint8Array
  readonly #origin: Buffer
  readonly #subjects: SubjectKeys
  readonly #session: Uint8Array
  readonly #sealingKey: Uint8Array
  readonly #openingKeys = new Map<string, Uint8Array>()
  #sealedLast = -1

  constructor({ detailKey, origin, subjects }: DetailVaultParts, random: Random) {
    if (detailKey.length !== keyBytes) throw new TypeError('the detail key is 32 bytes')
    this.#detailKey = detailKey
    this.#origin = Buffer.from(origin)
    this.#subjects = subjects
    this.#session = random(sessionBytes)
    this.#sealingKey = this.#derive(this.#session)
  }

  /** Throws a RangeError unless `index` is above the last one: its key would encrypt twice. */
  seal(index: number, plaintext: Uint8Array, subjects: readonly SealingSubject[] = []): Buffer {
    if (index <= this.#sealedLast) throw new RangeError(`the detail of entry ${index} is sealed`)
    if (subjects.length > subjectsMax) throw new RangeError('the entry has too many subjects')
    this.#sealedLast = index
    const bound = this.#bound(index)
    const input = keyInput(bound, subjects.length)
    const plainAt = headBytes + subjects.length * referenceBytes
    const sealed = Buffer.allocUnsafe(plainAt + plaintext.length + tagBytes)
    sealed[0] = leafVersion
    sealed.set(this.#session, 1)
    sealed[subjectsAt] = subjects.length
    for (let i = 0; i < subjects.length; i++) {
      const { reference, key } = subjects[i] as SealingSubject
      sealed.set(reference, headBytes + i * referenceBytes)
      input.set(key, indexBytes + i * subjectKeyBytes)
    }
    const cipher = createCipheriv(algorithm, entryKey(this.#sealingKey, input), nonce)
    cipher.setAAD(bound)
    sealed.set(cipher.update(plaintext), plainAt)
    cipher.final()
    sealed.set(cipher.getAuthTag(), plainAt + plaintext.length)
    return sealed
  }

  /**
   * Null where a subject of the entry was erased. Throws LedgerDamage on a detail of another entry,
   * of another log, or changed in any bit.
   */
  unseal(index: number, sealed: Uint8Array): Buffer | null {
    const references = referencesOf(index, sealed)
    const bound = this.#bound(index)
    const input = keyInput(bound, references.length)
    for (const [i, reference] of references.entries()) {
      const key = this.#subjects.keyOf(reference)
      if (key === null) return null
      input.set(key, indexBytes + i * subjectKeyBytes)
    }
    const plainAt = headBytes + references.length * referenceBytes
    const key = entryKey(this.#openingKey(sealed.subarray(1, subjectsAt)), input)
    const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: tagBytes })
    decipher.setAAD(bound)
    decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes))
    const plaintext = decipher.update(sealed.subarray(plainAt, sealed.length - tagBytes))
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

/** The references of a detail, in order; throws LedgerDamage for bytes that are not a detail. */
export function referencesOf(index: number, sealed: Uint8Array): readonly Uint8Array[] {
  const count = sealed[subjectsAt] ?? 0
  const plainAt = headBytes + count * referenceBytes
  if (sealed[0] !== leafVersion || sealed.length < plainAt + tagBytes) {
    throw new LedgerDamage(`the detail of entry ${index} is malformed`)
  }
  const references: Uint8Array[] = []
  for (let at = headBytes; at < plainAt; at += referenceBytes) {
    references.push(sealed.subarray(at, at + referenceBytes))
  }
  return references
}

/** `u64 index ‖ keys of the subjects`, the keys to be filled in. */
function keyInput(bound: Buffer, count: number): Buffer {
  const input = Buffer.allocUnsafe(indexBytes + count * subjectKeyBytes)
  bound.copy(input, 0, 0, indexBytes)
  return input
}

/** As a KeyObject: for raw bytes, Node throws and catches two errors, which cost 15 µs. */
function entryKey(sessionKey: Uint8Array, input: Uint8Array): KeyObject {
  return createSecretKey(hmacSha256(sessionKey, input))
}
