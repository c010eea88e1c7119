import { createHash, createPublicKey, type KeyObject, sign } from 'node:crypto'
import { type KeyProvider, newestVersion } from '../keys/key-provider.ts'
import type { ReplacedKeyStore } from '../ledger/replaced-keys.ts'
import type { Random } from '../lib/random.ts'
import { openPrivateKey, openSymmetricKey } from '../lib/stored-key.ts'
import type { SecretStore } from '../secrets/secret-store.ts'
import type { KeySigner } from '../transports/http/forward-signature.ts'

/**
 * The fabric's own keys. Each signs or seals one kind of thing, so that none can stand for another.
 */
export interface FabricKeys {
  /** Signs the checkpoints of the ledger, and by them its entries. */
  readonly log: KeyObject
  /**
   * Certifies the log keys of each slot, and the short-lived keys of each process; verifiers pin
   * it. It stays with its provider, and signs at starts and renewals only.
   */
  readonly slots: { readonly publicKey: Uint8Array; sign(bytes: Uint8Array): Promise<Uint8Array> }
  /** Signs what others keep: agent cards, channel descriptors and notifications. */
  readonly fabric: KeySigner & { readonly publicKey: Uint8Array }
  /** Seals the facts that are kept next to the ledger. */
  readonly detail: Uint8Array
  /** Wraps the keys of the subjects of the ledger; each erasure replaces it. */
  readonly subjects: ReplacedKeyStore
  /** Seals the file of a follower of the log, by its name; each erasure replaces it. */
  stateOf(consumer: string): ReplacedKeyStore
  /** Keys the hashes by which the state names subjects that are to be erased, to every slot. */
  readonly erasures: Uint8Array
  /** Keys the hashes that stand for masked values. */
  readonly mask: Uint8Array
}

/**
 * Loads the keys, making each one that does not exist yet. A key is durable before it is used. Log
 * and detail keys are those of the slot; its next holder opens the same ones.
 */
export async function openFabricKeys(
  secrets: SecretStore,
  provider: KeyProvider,
  { slot, random }: { readonly slot: string; readonly random: Random },
): Promise<FabricKeys> {
  const log = await openPrivateKey(secrets, `ledger/${slot}/log`, 'Ed25519')
  const fabric = await openPrivateKey(secrets, 'gateway/fabric', 'Ed25519')
  const fabricPublic = rawPublicKey(fabric)
  return {
    log,
    slots: await openCertifier(provider),
    fabric: {
      keyId: `fabric-${createHash('sha256').update(fabricPublic).digest('hex').slice(0, 16)}`,
      publicKey: fabricPublic,
      sign: (bytes) => sign(null, bytes, fabric),
    },
    detail: await openSymmetricKey(secrets, `ledger/${slot}/detail`, random),
    subjects: replacedKey(secrets, `ledger/${slot}/subjects`),
    stateOf: (consumer) => replacedKey(secrets, `consumers/${slot}/${consumer}`),
    erasures: await openSymmetricKey(secrets, 'ledger/erasures', random),
    mask: await openSymmetricKey(secrets, 'redaction/mask', random),
  }
}

function replacedKey(secrets: SecretStore, name: string): ReplacedKeyStore {
  return { load: () => secrets.find(name), store: (value) => secrets.put(name, value) }
}

/** The name of the certifying key at its provider. */
export const CERTIFIER = 'ledger/slots'

async function openCertifier(provider: KeyProvider): Promise<FabricKeys['slots']> {
  const { version, publicKey } = newestVersion(await provider.open(CERTIFIER, 'Ed25519'))
  if (publicKey === null) throw new TypeError(`${CERTIFIER} is not a key that signs`)
  return {
    publicKey: new Uint8Array(publicKey.subarray(-32)),
    async sign(bytes) {
      const signed = await provider.sign(CERTIFIER, bytes)
      // Verifiers pin the version that was the newest at the start.
      if (signed.version === version) return signed.signature
      throw new Error(`${CERTIFIER} was rotated since the start; start the fabric again`)
    },
  }
}

/** The 32 bytes at the end of an Ed25519 SubjectPublicKeyInfo (RFC 8410, section 4). */
function rawPublicKey(privateKey: KeyObject): Uint8Array {
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  return new Uint8Array(spki.subarray(-32))
}
