import { hash } from 'node:crypto'
import type * as Vendor from '@peculiar/x509'
import type {
  CertificateTerms,
  CertificateWriter,
} from '../../packages/fabric/src/identity/certificate-writer.ts'

// Node's own type of a key and the DOM's differ in the names of usages only.
type SigningKey = CryptoKey

const p256 = { name: 'ECDSA', namedCurve: 'P-256' } as const
const ecdsaSha256 = { name: 'ECDSA', hash: 'SHA-256' } as const

/** Certificates by `@peculiar/x509`, loaded when the first one is written. */
export function x509CertificateWriter(): CertificateWriter {
  let vendor: Promise<typeof Vendor> | null = null

  return {
    write: async (terms) => {
      vendor ??= loadVendor()
      const x509 = await vendor
      const subject = nameOf(terms.subjectName)
      const params = {
        serialNumber: terms.serialNumber,
        subject,
        issuer: terms.issuer === null ? subject : new x509.Name(bufferOf(terms.issuer)),
        notBefore: new Date(terms.notBefore),
        notAfter: new Date(terms.notAfter),
        publicKey: bufferOf(terms.publicKey),
        // The vendor asks `subtle` for the signature; the key is where `sign` has it.
        signingKey: { algorithm: p256 } as unknown as SigningKey,
        signingAlgorithm: ecdsaSha256,
        extensions: extensionsOf(x509, terms),
      }
      const subtle = {
        sign: async (_: unknown, __: unknown, tbs: ArrayBuffer) => {
          const signature = await terms.sign(new Uint8Array(tbs))
          return bufferOf(signature).buffer
        },
      }
      const certificate = await x509.X509CertificateGenerator.create(params, { subtle } as never)
      return new Uint8Array(certificate.rawData)
    },
  }
}

async function loadVendor(): Promise<typeof Vendor> {
  // The vendor's dependency injection reads metadata as soon as it is loaded.
  await import('reflect-metadata')
  return import('@peculiar/x509')
}

// As a structure, so that no character of a name is read as syntax.
function nameOf(commonName: string): Vendor.JsonName {
  return [{ O: ['Countersign'] }, { CN: [commonName] }]
}

function extensionsOf(x509: typeof Vendor, terms: CertificateTerms): Vendor.Extension[] {
  const { KeyUsageFlags } = x509
  const usage =
    terms.authority === null
      ? KeyUsageFlags.digitalSignature
      : KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign
  const names = [
    ...terms.uris.map((value) => ({ type: 'url', value }) as const),
    ...terms.dnsNames.map((value) => ({ type: 'dns', value }) as const),
    ...terms.ipAddresses.map((value) => ({ type: 'ip', value }) as const),
  ]
  const leafOnly =
    terms.authority === null
      ? [new x509.ExtendedKeyUsageExtension([serverAuth, clientAuth], false)]
      : []
  return [
    new x509.BasicConstraintsExtension(
      terms.authority !== null,
      terms.authority?.pathLengthMax,
      true,
    ),
    new x509.KeyUsagesExtension(usage, true),
    ...leafOnly,
    new x509.SubjectKeyIdentifierExtension(keyIdentifier(terms.publicKey)),
    new x509.AuthorityKeyIdentifierExtension(keyIdentifier(terms.issuerPublicKey)),
    new x509.SubjectAlternativeNameExtension(names, false),
  ]
}

const serverAuth = '1.3.6.1.5.5.7.3.1'
const clientAuth = '1.3.6.1.5.5.7.3.2'

/** RFC 7093, section 2, method 1: the first 160 bits of SHA-256, over the whole key information. */
function keyIdentifier(publicKey: Uint8Array): string {
  return hash('sha256', publicKey, 'hex').slice(0, 40)
}

function bufferOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes)
}
