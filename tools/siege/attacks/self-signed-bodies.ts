import { generateKeyPairSync, sign } from 'node:crypto'
import { connect } from 'node:tls'
import { derCertificateWriter } from '../../../packages/fabric/src/adapters/x509/der-certificate-writer.ts'
import { toPem } from '../../../packages/protocol/src/tls.ts'
import { type Attack, expectStatus, hold, post } from '../attack.ts'

/** A certificate of one's own making, in the name of an agent. */
async function forge(): Promise<{ readonly cert: string; readonly key: string }> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const spki = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }))
  const second = Math.floor(Date.now() / 1000) * 1000
  const der = await derCertificateWriter().write({
    ...{ subjectName: 'mallory', issuer: null, serialNumber: '01', authority: null },
    ...{ notBefore: second - 60_000, notAfter: second + 3_600_000 },
    ...{ publicKey: spki, issuerPublicKey: spki },
    sign: (bytes) => sign('sha256', bytes, { key: privateKey, dsaEncoding: 'ieee-p1363' }),
    ...{ uris: ['spiffe://countersign.local/agent/mallory'], dnsNames: [], ipAddresses: [] },
  })
  return { cert: toPem(der), key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
}

/** Half of a body behind a certificate that no CA issued. */
export const attack: Attack = {
  name: 'half-sent bodies, self-signed',
  async round(target) {
    const own = await forge()
    await hold(target, 20, async () => {
      const { host, port } = target
      const socket = connect({ host, port, rejectUnauthorized: false, ...own })
      socket.on('error', () => undefined)
      await new Promise((resolve) => socket.once('secureConnect', resolve).once('close', resolve))
      expectStatus(target, socket, 401, 429)
      socket.write(post(target, '/agents/echo/', ['Content-Length: 4000000']))
      socket.write(Buffer.alloc(64 * 1024, 0x20))
      return socket
    })
  },
}
