import { createSecureServer, type Http2SecureServer } from 'node:http2'
import type { Socket } from 'node:net'
import type { TLSSocket, TlsOptions } from 'node:tls'
import {
  answerPlainHttp,
  type ConnectionLimits,
  type Connections,
  guardConnections,
  guardPeers,
  PeerFault,
  type PeerIdentity,
  type PeerTrust,
  peerChain,
  peerIdentity,
} from '@countersign/protocol/tls'
import type { Refusal } from '../../lib/refusal.ts'
import { http2Limits } from '../http/http2-limits.ts'
import type { NodeRequest } from '../http/received-request.ts'
import type { NodeResponse, Reply } from '../http/respond.ts'
import { refuseTunnels } from '../http/tunnels.ts'
import { gatewayHeadLimits, headOptions, refuseUnparsed } from '../http/unparsed.ts'

export interface GatewayListenerOptions {
  readonly tls: TlsOptions
  readonly trust: PeerTrust
  readonly connectionsMax: number
  readonly limits?: Partial<ConnectionLimits>
  /** The end of what a caller's certificate was renewed to; 0 for nothing. */
  continuesUntil(peer: PeerIdentity): number
  handle(request: NodeRequest, response: NodeResponse): Promise<void>
  /** Records a request that no handler can read, and returns the reply to it. */
  refuse(socket: TLSSocket, refusal: Refusal): Promise<Reply>
}

/** The TLS listener of the gateway with its bounds, not listening yet. */
export function createGatewayListener(options: GatewayListenerOptions): {
  readonly server: Http2SecureServer
  readonly connections: Connections
} {
  const server = createSecureServer({
    ...options.tls,
    ...http2Limits(gatewayHeadLimits),
    ALPNProtocols: ['h2', 'http/1.1'],
    allowHTTP1: true,
    ...headOptions(gatewayHeadLimits),
  } as Parameters<typeof createSecureServer>[0])
  server.maxConnections = options.connectionsMax
  guardPeers(server, {
    ...{ ...options.trust, requestPeer: 'optional' },
    continuesUntil: (peer) => options.continuesUntil(peer),
  })
  // Errors of single connections are the peer's affair; unhandled, they would end the process.
  server.on('sessionError', () => undefined)
  answerPlainHttp(server)
  const refuse = (socket: unknown, refusal: Refusal) => options.refuse(socket as TLSSocket, refusal)
  refuseUnparsed(server, gatewayHeadLimits, refuse)
  refuseTunnels(server, refuse)
  const connections = guardConnections(server, {
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    identityOf: (socket) => identityOf(socket, options.trust),
    handle(request, response) {
      options.handle(request, response).catch(() => response.destroy())
    },
  })
  return { server, connections }
}

function identityOf(socket: Socket, { bundles, now }: PeerTrust): string | null {
  const peer = peerIdentity(peerChain(socket as TLSSocket) ?? [], bundles, now())
  return peer instanceof PeerFault ? null : peer.spiffeId
}
