import { createCipheriv, createDecipheriv, sign } from 'node:crypto'
import { concat, utf8 } from '@countersign/protocol'
import {
  type KeyAlgorithm,
  KeyFault,
  type KeyProvider,
  type KeyVersion,
  keyVersionsMax,
  plaintextBytesMax,
  type Rotation,
  signedBytesMax,
} from '../../keys/key-provider.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/random.ts'
import { type KeyStore, parsePrivateKey } from '../../lib/stored-key.ts'
import { formatMaterial, type KeyMaterial, makeMaterial, parseMaterial } from './key-material.ts'

export interface StoredKeyOptions {
  readonly secrets: KeyStore
  readonly clock: Pick<Clock, 'now'>
  readonly random: Random
}

/**
 * Keys in the fabric's secret store, one secret for each version: `keys/<name>/<version>`.
 *
 * A version is made by `create`, so that of processes that rotate at once one makes the next and
 * all others go on with it. Versions follow one another without a gap, and none is ever deleted: a
 * private key that is not needed any more is replaced by null, and its public key stays.
 */
export function storedKeys(options: StoredKeyOptions): KeyProvider {
  return new StoredKeys(options)
}

const formatByte = 1
const headBytes = 5
const nonceBytes = 12
const tagBytes = 16

class StoredKeys implements KeyProvider {
  readonly engine = 'the secret store'
  readonly #secrets: KeyStore
  readonly #clock: Pick<Clock, 'now'>
  readonly #random: Random
  /** A version known to exist for each name, where the search for the newest begins. */
  readonly #known = new Map<string, number>()

  constructor({ secrets, clock, random }: StoredKeyOptions) {
    this.#secrets = secrets
    this.#clock = clock
    this.#random = random
  }

  async open(name: string, algorithm: KeyAlgorithm): Promise<readonly KeyVersion[]> {
    const found = await this.#findNewest(name)
    const first = { version: 1, previousUntil: null }
    const newest = found ?? (await this.#create(name, makeMaterial(algorithm, first, this.#random)))
    if (newest.algorithm === algorithm) return this.#accepted(name, newest)
    throw new KeyFault(
      'KEY_REJECTED',
      `the key ${name} is for ${newest.algorithm}, not for ${algorithm}`,
    )
  }

  async sign(name: string, bytes: Uint8Array): Promise<{ version: number; signature: Uint8Array }> {
    if (bytes.length > signedBytesMax) {
      throw new KeyFault('KEY_REJECTED', `the key ${name} signs ${signedBytesMax} bytes at most`)
    }
    const { algorithm, version, key } = await this.#newest(name)
    if (algorithm === 'AES-256-GCM') throw wrongUse(name, 'encrypts and does not sign')
    const signature =
      algorithm === 'Ed25519'
        ? sign(null, bytes, parsePrivateKey(key))
        : sign('sha256', bytes, { key: parsePrivateKey(key), dsaEncoding: 'ieee-p1363' })
    return { version, signature: new Uint8Array(signature) }
  }

  async encrypt(name: string, plaintext: Uint8Array, context: string): Promise<Uint8Array> {
    if (plaintext.length > plaintextBytesMax) {
      const text = `the key ${name} encrypts ${plaintextBytesMax} bytes at most: wrap a data key`
      throw new KeyFault('KEY_REJECTED', text)
    }
    const { algorithm, version, key } = await this.#newest(name)
    if (algorithm !== 'AES-256-GCM') throw wrongUse(name, 'signs and does not encrypt')
    const nonce = this.#random(nonceBytes)
    const cipher = createCipheriv('aes-256-gcm', key, nonce)
    cipher.setAAD(authenticated(name, version, context))
    const sealed = [cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]
    return concat(headOf(version), nonce, ...sealed)
  }

  async decrypt(name: string, ciphertext: Uint8Array, context: string): Promise<Uint8Array> {
    const fault = (why: string) =>
      new KeyFault('KEY_REJECTED', `the key ${name} does not open this ciphertext: ${why}`)
    const bytes = Buffer.from(ciphertext)
    const isWhole = bytes.length >= headBytes + nonceBytes + tagBytes
    if (!isWhole || bytes.readUInt8(0) !== formatByte) throw fault('it is malformed')
    const version = bytes.readUInt32BE(1)
    const newest = await this.#newest(name)
    if (newest.algorithm !== 'AES-256-GCM') throw wrongUse(name, 'signs and does not decrypt')
    const accepted = await this.#accepted(name, newest)
    const isAccepted = accepted.some((each) => each.version === version)
    const material = isAccepted ? await this.#find(name, version) : null
    const key = material?.key ?? null
    if (key === null) throw fault(`version ${version} does not exist, or its overlap is over`)
    const at = headBytes + nonceBytes
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(headBytes, at), {
      authTagLength: tagBytes,
    })
    decipher.setAAD(authenticated(name, version, context))
    decipher.setAuthTag(bytes.subarray(-tagBytes))
    try {
      return concat(decipher.update(bytes.subarray(at, -tagBytes)), decipher.final())
    } catch {
      throw fault('it was changed, or is of another context')
    }
  }

  async rotate(name: string, { from, overlapMs }: Rotation): Promise<KeyVersion> {
    if (!(overlapMs >= 0)) throw new KeyFault('KEY_REJECTED', 'an overlap is not negative')
    const newest = await this.#newest(name)
    if (newest.version !== from) return versionOf(newest, null)
    if (from >= keyVersionsMax) {
      throw new KeyFault('KEY_REJECTED', `the key ${name} has ${from} versions: use a new name`)
    }
    const next = { version: from + 1, previousUntil: this.#clock.now() + overlapMs }
    // Durable before the old version ends: a crash between the two leaves both.
    const made = await this.#create(name, makeMaterial(newest.algorithm, next, this.#random))
    await this.#endOld(name, made)
    return versionOf(made, null)
  }

  /**
   * Destroys what is not needed any more: of signing keys the private half at once, of keys that
   * decrypt after their overlap. Two processes write the same, and a crash leaves it to the next
   * rotation.
   */
  async #endOld(name: string, newest: KeyMaterial): Promise<void> {
    let { previousUntil } = newest
    for (let version = newest.version - 1; version >= 1; version--) {
      const old = await this.#find(name, version)
      if (old === null || old.key === null) return
      const isOver = (previousUntil ?? 0) <= this.#clock.now()
      if (newest.algorithm !== 'AES-256-GCM' || isOver) {
        await this.#secrets.put(secretName(name, version), formatMaterial({ ...old, key: null }))
      }
      previousUntil = earlier(previousUntil, old.previousUntil)
    }
  }

  /** The newest version and those before it that have not ended; an ended one ends all before. */
  async #accepted(name: string, newest: KeyMaterial): Promise<readonly KeyVersion[]> {
    const accepted = [versionOf(newest, null)]
    let until = newest.previousUntil
    while (until !== null && until > this.#clock.now()) {
      const version = newest.version - accepted.length
      const old = await this.#find(name, version)
      if (old === null) throw missing(name, version)
      accepted.push(versionOf(old, until))
      // A rotation without an overlap ends all earlier versions too.
      until = old.previousUntil === null ? null : earlier(until, old.previousUntil)
    }
    return accepted
  }

  async #newest(name: string): Promise<KeyMaterial & { readonly key: Uint8Array }> {
    const newest = await this.#findNewest(name)
    if (newest === null) {
      throw new KeyFault('KEY_UNKNOWN', `the secret store has no key ${name}`)
    }
    const { key } = newest
    if (key === null) throw missing(name, newest.version + 1)
    return { ...newest, key }
  }

  async #findNewest(name: string): Promise<KeyMaterial | null> {
    let newest: KeyMaterial | null = null
    // In this order: a version that was read with its key was the newest while it was read.
    for (let version = this.#known.get(name) ?? 1; version <= keyVersionsMax; version++) {
      const found = await this.#find(name, version)
      if (found === null) break
      newest = found
    }
    if (newest !== null) this.#known.set(name, newest.version)
    else if (this.#known.has(name)) throw missing(name, this.#known.get(name) ?? 1)
    return newest
  }

  async #find(name: string, version: number): Promise<KeyMaterial | null> {
    const stored = await this.#secrets.find(secretName(name, version))
    return stored === null ? null : parseMaterial(name, version, stored)
  }

  async #create(name: string, made: KeyMaterial): Promise<KeyMaterial> {
    const stored = await this.#secrets.create(secretName(name, made.version), formatMaterial(made))
    return parseMaterial(name, made.version, stored)
  }
}

const earlier = (a: number | null, b: number | null): number => Math.min(a ?? 0, b ?? 0)

const secretName = (name: string, version: number): string => `keys/${name}/${version}`

function versionOf(
  { version, algorithm, publicKey }: KeyMaterial,
  retiresAt: number | null,
): KeyVersion {
  return { version, algorithm, publicKey, retiresAt }
}

function headOf(version: number): Uint8Array {
  const head = Buffer.alloc(headBytes)
  head.writeUInt8(formatByte, 0)
  head.writeUInt32BE(version, 1)
  return head
}

/** A ciphertext of one key, version or context is not one of another. */
function authenticated(name: string, version: number, context: string): Uint8Array {
  return utf8(JSON.stringify(['countersign/stored-key/v1', name, version, context]))
}

function missing(name: string, version: number): KeyFault {
  return new KeyFault(
    'KEY_UNAVAILABLE',
    `version ${version} of the key ${name} is missing; restore all of the secrets from one backup`,
  )
}

function wrongUse(name: string, why: string): KeyFault {
  return new KeyFault('KEY_REJECTED', `the key ${name} ${why}`)
}
