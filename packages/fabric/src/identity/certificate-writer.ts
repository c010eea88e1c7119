/** The content of one certificate. All keys are ECDSA P-256. */
export interface CertificateTerms {
  readonly subjectName: string
  /** The issuer's subject in DER, copied as it is; null when the certificate issues itself. */
  readonly issuer: Uint8Array | null
  /** Lower-case hex of a positive number, at most 20 bytes. */
  readonly serialNumber: string
  /** Unix milliseconds, whole seconds. */
  readonly notBefore: number
  readonly notAfter: number
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array
  readonly issuerPublicKey: Uint8Array
  /**
   * Signs with the issuer's key, which may be elsewhere: ECDSA P-256 with SHA-256, as r ‖ s, 64
   * bytes.
   */
  readonly sign: (bytes: Uint8Array) => Uint8Array | Promise<Uint8Array>
  /** Null for a leaf. */
  readonly authority: { readonly pathLengthMax: number } | null
  readonly uris: readonly string[]
  readonly dnsNames: readonly string[]
  /** Textual, IPv4 or IPv6. */
  readonly ipAddresses: readonly string[]
}

/** Writes and signs certificates; decides nothing. */
export interface CertificateWriter {
  /** One certificate in DER (RFC 5280), key usages critical, fit to be an X509-SVID. */
  write(terms: CertificateTerms): Promise<Uint8Array>
}
