import { createHash, createPublicKey, type KeyObject, sign } from 'node:crypto'
import type { StatementKey } from '../ledger/statement-writer.ts'
import type { Random } from '../lib/random.ts'
import { openPrivateKey, openSymmetricKey } from '../lib/stored-key.ts'
import type { SecretStore } from '../secrets/secret-store.ts'
import type { ForwardSigner } from '../transports/http/forward-signature.ts'

/**
 * The fabric's own keys. Each signs or seals one kind of thing, so that none can stand for another.
 */
export interface FabricKeys {
  /** Signs checkpoints of the ledger. */
  readonly log: KeyObject
  /** Signs the statements that the ledger holds. */
  readonly statement: StatementKey & { readonly publicKey: Uint8Array }
  /** Certifies the log keys of each slot; verifiers pin it. */
  readonly slots: { readonly publicKey: Uint8Array; sign(bytes: Uint8Array): Uint8Array }
  /** Signs what the fabric forwards, and the cards it rewrites. */
  readonly forward: ForwardSigner & { readonly publicKey: Uint8Array }
  /** Seals the facts that are kept next to the ledger. */
  readonly detail: Uint8Array
  /** Keys the hashes that stand for masked values. */
  readonly mask: Uint8Array
}

/**
 * Loads the keys, making each one that does not exist yet. A key is durable before it is used. Log,
 * statement and detail keys are those of the slot; its next holder opens the same ones.
 */
export async function openFabricKeys(
  secrets: SecretStore,
  slot: string,
  random: Random,
): Promise<FabricKeys> {
  const log = await openPrivateKey(secrets, `ledger/${slot}/log`, 'Ed25519')
  const statement = await openPrivateKey(secrets, `ledger/${slot}/statement`, 'Ed25519')
  const forward = await openPrivateKey(secrets, 'gateway/forward', 'Ed25519')
  const slots = await openPrivateKey(secrets, 'ledger/slots', 'Ed25519')
  const statementPublic = rawPublicKey(statement)
  const forwardPublic = rawPublicKey(forward)
  return {
    log,
    statement: {
      keyId: createHash('sha256').update(statementPublic).digest().subarray(0, 16),
      privateKey: statement,
      publicKey: statementPublic,
    },
    slots: { publicKey: rawPublicKey(slots), sign: (bytes) => sign(null, bytes, slots) },
    forward: {
      keyId: `fabric-${createHash('sha256').update(forwardPublic).digest('hex').slice(0, 16)}`,
      publicKey: forwardPublic,
      sign: (bytes) => sign(null, bytes, forward),
    },
    detail: await openSymmetricKey(secrets, `ledger/${slot}/detail`, random),
    mask: await openSymmetricKey(secrets, 'redaction/mask', random),
  }
}

/** The 32 bytes at the end of an Ed25519 SubjectPublicKeyInfo (RFC 8410, section 4). */
function rawPublicKey(privateKey: KeyObject): Uint8Array {
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  return new Uint8Array(spki.subarray(-32))
}
