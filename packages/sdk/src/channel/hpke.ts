import {
  AEAD_AES_256_GCM,
  CipherSuite,
  KDF_HKDF_SHA256,
  KEM_DHKEM_X25519_HKDF_SHA256,
  KEM_MLKEM768_X25519,
  type Key,
} from 'hpke'

/**
 * The closed list of suites. The HPKE side (RFC 9180, Base mode) is here; messages use AES-256-GCM,
 * HKDF-SHA256 and Ed25519 in every suite. A number outside of this table is refused, and so is one
 * that the signed channel descriptor does not allow: there is nothing to negotiate.
 */
export const SEAL_SUITES = {
  1: { kem: 'DHKEM(X25519, HKDF-SHA256)', publicKeyBytes: 32, encBytes: 32 },
  2: { kem: 'MLKEM768-X25519', publicKeyBytes: 1216, encBytes: 1120 },
} as const

export type SealSuiteId = keyof typeof SEAL_SUITES

/** The library's three calls for one KEM, whose key type stays inside. */
interface Hpke {
  generate(): Promise<SealingKeyPair>
  seal(publicKey: Uint8Array, secret: Uint8Array, info: Uint8Array): Promise<WrappedSecret>
  open(key: OpeningKey, sealed: WrappedSecret, info: Uint8Array): Promise<Uint8Array | null>
}

// Made on first use: the hybrid suite asks the runtime for experimental algorithms, with a warning.
const factories: Readonly<Record<SealSuiteId, () => Hpke>> = {
  1: () =>
    createHpke(new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_256_GCM)),
  2: () => createHpke(new CipherSuite(KEM_MLKEM768_X25519, KDF_HKDF_SHA256, AEAD_AES_256_GCM)),
}
const made = new Map<SealSuiteId, Hpke>()

function hpkeOf(suite: SealSuiteId): Hpke {
  const hpke = made.get(suite) ?? factories[suite]()
  made.set(suite, hpke)
  return hpke
}

export function isSealSuite(value: unknown): value is SealSuiteId {
  return typeof value === 'number' && Object.hasOwn(SEAL_SUITES, value)
}

/**
 * Raw keys of a suite's KEM; the private one is 32 bytes in every suite (for the hybrid, its seed).
 */
export interface SealingKeyPair {
  readonly publicKey: Uint8Array
  readonly privateKey: Uint8Array
}

/** Its caller will be the enrolment of hybrid sealing keys. */
export function generateSealingKey(suite: SealSuiteId): Promise<SealingKeyPair> {
  return hpkeOf(suite).generate()
}

/** A private key; the public half, when it is known, saves computing it. */
export interface OpeningKey {
  readonly privateKey: Uint8Array
  readonly publicKey: Uint8Array | null
}

export interface WrappedSecret {
  readonly enc: Uint8Array
  readonly wrapped: Uint8Array
}

/** The suite, and what binds one wrap to one place and time. */
export interface Wrap {
  readonly suite: SealSuiteId
  readonly info: Uint8Array
}

/** Seals 32 bytes to `publicKey`. Throws when that is not a key of the suite. */
export function wrapSecret(
  secret: Uint8Array,
  publicKey: Uint8Array,
  { suite, info }: Wrap,
): Promise<WrappedSecret> {
  if (publicKey.length !== SEAL_SUITES[suite].publicKeyBytes)
    throw new TypeError('sealing key length')
  return hpkeOf(suite).seal(publicKey, secret, info)
}

/** Undoes `wrapSecret`; null when it was not made for this key and `info`. */
export async function unwrapSecret(
  sealed: WrappedSecret,
  key: OpeningKey,
  { suite, info }: Wrap,
): Promise<Uint8Array | null> {
  if (sealed.enc.length !== SEAL_SUITES[suite].encBytes) return null
  const secret = await hpkeOf(suite).open(key, sealed, info)
  return secret?.length === 32 ? secret : null
}

function createHpke<K extends Key>(cipher: CipherSuite<K>): Hpke {
  return {
    async generate() {
      const pair = await cipher.GenerateKeyPair(true)
      return {
        publicKey: await cipher.SerializePublicKey(pair.publicKey),
        privateKey: await cipher.SerializePrivateKey(pair.privateKey),
      }
    },

    async seal(publicKey, secret, info) {
      const receiver = await cipher.DeserializePublicKey(publicKey)
      const { encapsulatedSecret, ciphertext } = await cipher.Seal(receiver, secret, { info })
      return { enc: encapsulatedSecret, wrapped: ciphertext }
    },

    async open({ privateKey: raw, publicKey: rawPublic }, { enc, wrapped }, info) {
      // Outside of the catch: a private key that cannot be read is our fault, not the sender's.
      const privateKey = await cipher.DeserializePrivateKey(raw, true)
      const publicKey = rawPublic === null ? null : await cipher.DeserializePublicKey(rawPublic)
      const receiver = publicKey === null ? privateKey : { privateKey, publicKey }
      return cipher.Open(receiver, enc, wrapped, { info }).catch(() => null)
    },
  }
}
