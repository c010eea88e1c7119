import type { Server } from 'node:http'
import type { Http2SecureServer, Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { Server as SecureServer } from 'node:https'
import type { Duplex } from 'node:stream'
import { tlsSocketOf } from '@countersign/protocol/tls'
import { Refusal } from '../../lib/refusal.ts'
import { type Reply, writeReply } from './respond.ts'
import { endWith } from './unparsed.ts'

/**
 * Answers CONNECT (RFC 9110, section 9.3.6), which Node gives to no request handler: it would close
 * the connection without an answer. No listener here is a proxy.
 */
export function refuseTunnels(
  server: Server | SecureServer | Http2SecureServer,
  refuse: (socket: Duplex, refusal: Refusal) => Promise<Reply>,
): void {
  const refusal = new Refusal('OPERATION_UNKNOWN', 'method CONNECT')
  server.on('connect', (request: { httpVersionMajor: number }, peer: Duplex) => {
    if (request.httpVersionMajor >= 2) {
      const [asked, response] = [request, peer] as unknown as [
        Http2ServerRequest,
        Http2ServerResponse,
      ]
      const socket = tlsSocketOf(asked) ?? asked.stream.session?.socket
      if (socket === undefined) return void response.destroy()
      refuse(socket, refusal)
        .then((reply) => writeReply(response, reply))
        .catch(() => response.destroy())
      return
    }
    // Its parser is gone, and with it the handler for errors of the connection.
    peer.on('error', () => undefined)
    refuse(peer, refusal).then(
      (reply) => endWith(peer, reply),
      () => peer.destroy(),
    )
  })
}
