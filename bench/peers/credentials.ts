import {
  createHash,
  generateKeyPairSync,
  type KeyObject,
  randomUUID,
  sign,
  X509Certificate,
} from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { derCertificateWriter } from '../../packages/fabric/src/adapters/x509/der-certificate-writer.ts'
import {
  type Authority,
  openAuthority,
} from '../../packages/fabric/src/identity/certificate-authority.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { toPem } from '../../packages/protocol/src/tls.ts'
import { memorySecrets, testKeys } from '../../test/contracts/identity-lab.ts'

/** A certificate and its key, as paths of PEM files. */
export interface CredentialFiles {
  readonly cert: string
  readonly key: string
}

/** Everything a peer needs to check the caller of the bench, and the caller to pass. */
export interface Credentials {
  /** Path of the root certificate, which both ends trust. */
  readonly ca: string
  /** For `localhost`. */
  readonly server: CredentialFiles
  readonly caller: CredentialFiles & {
    readonly spiffeId: string
    /** SHA-1 of the leaf, upper-case hex; HAProxy 2.6 has no fetch for a SPIFFE ID. */
    readonly sha1: string
  }
  /** Of the same trust domain, and permitted nothing. */
  readonly other: CredentialFiles
  readonly issuer: string
  readonly audience: string
  /** Path of the issuer's public key, SubjectPublicKeyInfo as PEM. */
  readonly issuerKey: string
  /** The issuer's public key as a JWK set. */
  readonly jwks: string
  /** An access token of the caller: RFC 9068 claims, ES256. */
  readonly token: string
  /** The same token, expired an hour ago. */
  readonly expiredToken: string
  /** The same token, of another issuer's key. */
  readonly forgedToken: string
}

const trustDomain = 'bench.example'
const issuer = `https://${trustDomain}/oauth`
const audience = `spiffe://${trustDomain}/fabric/gateway`
const keyId = 'bench-1'
const hourSeconds = 3600

/** Issues everything anew and writes it below `dir`. */
export async function writeCredentials(dir: string): Promise<Credentials> {
  mkdirSync(dir, { recursive: true })
  const secrets = memorySecrets()
  const authority = await openAuthority({
    ...{ trustDomain, secrets, rootKeys: testKeys(secrets) },
    ...{ writer: derCertificateWriter(), clock: systemClock, random: systemRandom },
  })
  const { publicKey, privateKey } = newKey()
  const caller = await certificate(dir, authority, 'agent/caller')
  const claims = claimsOf(caller.spiffeId)
  const expired = { ...claims, exp: claims.iat - hourSeconds }
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: keyId, alg: 'ES256', use: 'sig' }
  return {
    ca: write(dir, 'ca.pem', authority.rootPem),
    server: await certificate(dir, authority, 'fabric/peer'),
    caller,
    other: await certificate(dir, authority, 'agent/other'),
    issuer,
    audience,
    issuerKey: write(dir, 'issuer.pem', pem(publicKey, 'spki')),
    jwks: JSON.stringify({ keys: [jwk] }),
    token: signToken(claims, privateKey),
    expiredToken: signToken(expired, privateKey),
    forgedToken: signToken(claims, newKey().privateKey),
  }
}

function newKey() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' })
}

function pem(key: KeyObject, type: 'spki' | 'pkcs8'): string {
  return key.export({ type, format: 'pem' } as { type: 'spki'; format: 'pem' }).toString()
}

function write(dir: string, name: string, text: string): string {
  const path = join(dir, name)
  writeFileSync(path, text, { mode: 0o600 })
  return path
}

async function certificate(dir: string, authority: Authority, path: string) {
  const { privateKey, publicKey } = newKey()
  const spiffeId = `spiffe://${trustDomain}/${path}`
  const { certificateChain } = await authority.issue({
    spiffeId,
    tlsPublicKey: new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })),
    dnsNames: ['localhost'],
  })
  const name = path.replaceAll('/', '-')
  const leaf = new X509Certificate(certificateChain[0] ?? new Uint8Array())
  return {
    spiffeId,
    sha1: createHash('sha1').update(leaf.raw).digest('hex').toUpperCase(),
    cert: write(dir, `${name}.pem`, certificateChain.map((each) => toPem(each)).join('')),
    key: write(dir, `${name}-key.pem`, pem(privateKey, 'pkcs8')),
  }
}

function claimsOf(sub: string) {
  const iat = Math.floor(Date.now() / 1000)
  const client_id = sub
  const jti = randomUUID()
  return { iss: issuer, sub, client_id, aud: audience, iat, exp: iat + hourSeconds, jti }
}

function signToken(claims: object, key: KeyObject): string {
  const header = { alg: 'ES256', typ: 'at+jwt', kid: keyId }
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const input = `${part(header)}.${part(claims)}`
  const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}
