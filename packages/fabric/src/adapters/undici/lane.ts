import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import {
  type ClientTls,
  type ConnectedPeer,
  PeerError,
  PeerFault,
  verifyPeer,
  watchPeer,
} from '@countersign/protocol/tls'

/**
 * Our own credential, and the peer that a connection must prove, in its handshake and afterwards.
 */
export type ReceiverTls = ClientTls & ConnectedPeer

/** The connection that carries a request, as far as it shows what can have reached the receiver. */
export interface Lane {
  /** Requests that were written to this connection. */
  requests: number
  /** Bytes that the receiver sent over it, decrypted. */
  bytesRead: number
  /** Bytes that were written to it, and that the operating system has not taken yet. */
  unsentBytes(): number
  /**
   * The error with which it failed. undici takes a reset for the end of a body that has no other.
   */
  failure: Error | null
  /** False over HTTP/1.1, where the end of the connection can be that of a body. */
  readonly framesBodies: boolean
  readonly isTls: boolean
  /** Returns why its peer gets no further request; null while it is as good as in the handshake. */
  fault(): PeerFault | null
  /** Ends it when its peer may not even go on with what is under way. */
  look(): void
  close(): void
}

export interface LaneOptions {
  /** Null for a receiver that proves no SPIFFE ID. */
  readonly expected: ConnectedPeer | null
  readonly now: () => number
  readonly isHttp2?: boolean
}

/**
 * Follows a connection that was just made. If a peer is `expected`, one that is not proved is an
 * error, its connection closed. Any other receiver of TLS was proved by public authorities.
 */
export function openLane(
  socket: Socket,
  { expected, now, isHttp2 = false }: LaneOptions,
): Lane | PeerError {
  const watch = expected === null ? watchPublic(socket, now) : watchReceiver(socket, expected)
  if (watch instanceof PeerError) return watch
  const close = (): void => void socket.destroy()
  const unsentBytes = (): number => socket.writableLength
  const lane: Lane = {
    ...{ requests: 0, bytesRead: 0, unsentBytes, failure: null },
    ...{ framesBodies: isHttp2, isTls: socket instanceof TLSSocket },
    ...{ ...watch, close },
  }
  // Before any listener of undici.
  socket.once('error', (error) => {
    lane.failure = error
  })
  // A session of HTTP/2 reads the socket below its events.
  if (!isHttp2)
    socket.on('data', ({ length }: Uint8Array) => {
      lane.bytesRead += length
    })
  return lane
}

/** Requests under way continue: such a receiver cannot announce its next certificate. */
function watchPublic(socket: Socket, now: () => number): Pick<Lane, 'fault' | 'look'> {
  const leaf = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined
  const expiresAt = leaf?.validToDate.getTime() ?? Number.POSITIVE_INFINITY
  return { fault: () => (now() > expiresAt ? expired : null), look: () => undefined }
}

const expired = new PeerFault('CERTIFICATE_EXPIRED', 'the certificate of the receiver has expired')

function watchReceiver(socket: Socket, expected: ConnectedPeer) {
  const peer = socket instanceof TLSSocket ? verifyPeer(socket, expected) : notProved
  if (socket instanceof TLSSocket && !(peer instanceof PeerFault)) {
    return watchPeer(socket, peer, expected)
  }
  const fault = peer instanceof PeerFault ? peer : notProved
  socket.on('error', () => undefined).destroy()
  return new PeerError(fault.detail, fault)
}

const notProved = new PeerFault('CERTIFICATE_MISSING', 'the connection is not one of TLS')
