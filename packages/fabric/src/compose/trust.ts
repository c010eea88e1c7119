import { toBase64, trustFingerprint } from '@countersign/protocol'
import type { Stores } from './stores.ts'

/** The document of `GET /v1/trust`. */
export function trustDocument({ identity, keys, ledger }: Stores): string {
  const { trustDomain, bundles } = identity
  return JSON.stringify({
    v: 1,
    trustDomain,
    bundle: (bundles.find(trustDomain)?.roots ?? []).map((root) => toBase64(root)),
    origin: ledger.origin,
    vkey: ledger.vkey,
    statementKey: {
      keyId: toBase64(keys.statement.keyId),
      publicKey: toBase64(keys.statement.publicKey),
    },
    fabricKey: { keyId: keys.forward.keyId, publicKey: toBase64(keys.forward.publicKey) },
    enrollmentKey: toBase64(identity.enrollmentKey),
  })
}

/** The same for as long as the process lives: a root can be added, but no key of these changes. */
export function fingerprintOf({ identity, keys, ledger }: Stores): Promise<string> {
  return trustFingerprint({
    origin: ledger.origin,
    vkey: ledger.vkey,
    statementKey: keys.statement,
    trustDomain: identity.trustDomain,
    fabricKey: keys.forward.publicKey,
  })
}
