import {
  certifiedKeyId,
  encodeKeyCertificate,
  formatKeyCertificate,
  type KeyCertificate,
  keyCertificateInput,
} from '@countersign/protocol'

interface Signer {
  readonly publicKey: Uint8Array
  sign(bytes: Uint8Array): Uint8Array
}

const hourMs = 3_600_000

/** A certificate for `key` by `certifier`, as a fabric makes it, except for what `stated` has. */
export function certified(
  certifier: Pick<Signer, 'sign'>,
  key: Signer,
  stated: Pick<KeyCertificate, 'trustDomain'> & Partial<KeyCertificate>,
) {
  const now = Date.now()
  const certificate: KeyCertificate = {
    ...{ purpose: 'forward', slot: 'a', serial: now, publicKey: key.publicKey },
    ...{ notBefore: now - 60_000, notAfter: now + hourMs },
    ...{ certifier: { name: 'ledger/slots', version: 1 }, ...stated },
  }
  const statement = encodeKeyCertificate(certificate)
  const signature = certifier.sign(keyCertificateInput(statement))
  return {
    keyId: certifiedKeyId(certificate),
    certificate: formatKeyCertificate(statement, signature),
    publicKey: key.publicKey,
    sign: (bytes: Uint8Array) => key.sign(bytes),
  }
}
