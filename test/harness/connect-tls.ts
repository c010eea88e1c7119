import { connect, type TLSSocket } from 'node:tls'
import {
  type ClientTls,
  clientTlsOptions,
  PeerError,
  PeerFault,
  type PeerIdentity,
  verifyPeer,
  watchPeer,
} from '@countersign/protocol/tls'

const handshakeTimeoutMsDefault = 10_000

/**
 * Connects, and resolves once the peer is proved to be the expected one. Rejects with a PeerError,
 * the socket destroyed, in every other case. The connection closes itself when the peer's
 * certificate expires, or stops being good for another reason.
 */
export function connectTls(
  client: ClientTls & {
    readonly host: string
    readonly port: number
    readonly handshakeTimeoutMs?: number
  },
): Promise<{ readonly socket: TLSSocket; readonly peer: PeerIdentity }> {
  const { host, port } = client
  return new Promise((resolve, reject) => {
    const socket = connect({ ...clientTlsOptions(client), host, port })
    const fail = (error: PeerError): void => {
      socket.destroy()
      reject(error)
    }
    const timeoutMs = client.handshakeTimeoutMs ?? handshakeTimeoutMsDefault
    socket.setTimeout(timeoutMs, () => fail(new PeerError('the handshake took too long', null)))
    const onError = (cause: Error): void =>
      fail(cause instanceof PeerError ? cause : new PeerError('no TLS connection', null, cause))
    socket.once('error', onError)
    socket.once('secureConnect', () => {
      const peer = verifyPeer(socket, client)
      if (peer instanceof PeerFault) return fail(new PeerError(peer.detail, peer))
      socket.off('error', onError)
      socket.setTimeout(0)
      socket.removeAllListeners('timeout')
      watchPeer(socket, peer, client)
      resolve({ socket, peer })
    })
  })
}
