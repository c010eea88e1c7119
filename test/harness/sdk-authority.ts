import 'reflect-metadata'
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { type TlsCredential } from '@countersign/protocol/tls'
import * as x509 from '@peculiar/x509'

export const trustDomain = 'acme.test'
export const hourMs = 3_600_000

export function signingKey() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const spki = publicKey.export({ format: 'der', type: 'spki' })
  return {
    publicKey: new Uint8Array(spki.subarray(-32)),
    sign: (bytes: Uint8Array) => new Uint8Array(sign(null, bytes, privateKey)),
  }
}

const p256 = { name: 'ECDSA', namedCurve: 'P-256' }

/** A certificate authority of one trust domain. */
export class TestAuthority {
  readonly root: Uint8Array
  readonly #key: KeyObject
  readonly #name: string

  private constructor(root: Uint8Array, key: KeyObject, name: string) {
    this.root = root
    this.#key = key
    this.#name = name
  }

  static async create(name = 'CN=Test Root'): Promise<TestAuthority> {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const root = await certificate(
      { subject: name, issuer: name, publicKey, signingKey: privateKey, authority: true },
      [
        new x509.SubjectAlternativeNameExtension([
          { type: 'url', value: `spiffe://${trustDomain}` },
        ]),
      ],
    )
    return new TestAuthority(root, privateKey, name)
  }

  issue(spiffeId: string, publicKey: KeyObject, lifetimeMs = hourMs): Promise<Uint8Array> {
    const names = [
      { type: 'url', value: spiffeId },
      { type: 'ip', value: '127.0.0.1' },
    ] as const
    return certificate(
      {
        subject: 'CN=leaf',
        issuer: this.#name,
        publicKey,
        signingKey: this.#key,
        authority: false,
        lifetimeMs,
      },
      [new x509.SubjectAlternativeNameExtension([...names])],
    )
  }

  async credential(spiffeId: string): Promise<TlsCredential> {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    return { certificateChain: [await this.issue(spiffeId, publicKey)], privateKey }
  }
}

async function certificate(
  terms: {
    subject: string
    issuer: string
    publicKey: KeyObject
    signingKey: KeyObject
    authority: boolean
    lifetimeMs?: number
  },
  names: x509.Extension[],
): Promise<Uint8Array> {
  const { KeyUsageFlags } = x509
  const usage = terms.authority
    ? KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign
    : KeyUsageFlags.digitalSignature
  const now = Date.now()
  const made = await x509.X509CertificateGenerator.create({
    serialNumber: randomBytes(8).toString('hex').replace(/^./, '1'),
    subject: terms.subject,
    issuer: terms.issuer,
    notBefore: new Date(now - 1000),
    notAfter: new Date(now + (terms.lifetimeMs ?? 24 * hourMs)),
    publicKey: new Uint8Array(terms.publicKey.export({ type: 'spki', format: 'der' })),
    signingKey: terms.signingKey.toCryptoKey(p256, false, ['sign']) as CryptoKey,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new x509.BasicConstraintsExtension(terms.authority, undefined, true),
      new x509.KeyUsagesExtension(usage, true),
      ...names,
    ],
  })
  return new Uint8Array(made.rawData)
}
