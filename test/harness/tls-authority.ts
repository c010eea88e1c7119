import { generateKeyPairSync } from 'node:crypto'
import { toPem } from '@countersign/protocol/tls'
import { derCertificateWriter } from '../../packages/fabric/src/adapters/x509/der-certificate-writer.ts'
import { openAuthority } from '../../packages/fabric/src/identity/certificate-authority.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { memorySecrets, testKeys } from '../contracts/identity-lab.ts'

export interface ServerNames {
  readonly dnsNames: readonly string[]
  readonly ipAddresses: readonly string[]
}

export interface TlsAuthority {
  /** The root, as clients trust it. */
  readonly caPem: string
  /** The key and the certificate, with its intermediate, of a server that has these names. */
  issue(names: ServerNames): Promise<{ readonly keyPem: string; readonly certPem: string }>
}

/** An authority of its own for the servers of one test. */
export async function openTlsAuthority(): Promise<TlsAuthority> {
  const secrets = memorySecrets()
  const authority = await openAuthority({
    ...{ trustDomain: 'engines.example', secrets, rootKeys: testKeys(secrets) },
    ...{ writer: derCertificateWriter(), clock: systemClock, random: systemRandom },
  })
  return {
    caPem: authority.rootPem,
    async issue(names) {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const { certificateChain } = await authority.issue({
        spiffeId: 'spiffe://engines.example/agent/server',
        tlsPublicKey: new Uint8Array(publicKey.export({ format: 'der', type: 'spki' })),
        ...names,
      })
      return {
        keyPem: String(privateKey.export({ format: 'pem', type: 'pkcs8' })),
        certPem: certificateChain.map(toPem).join(''),
      }
    },
  }
}
