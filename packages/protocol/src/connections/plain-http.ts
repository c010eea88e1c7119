import { Socket } from 'node:net'
import type { Server, TLSSocket } from 'node:tls'
import { utf8 } from '../encoding/bytes.ts'
import { endGently } from './connections.ts'

const says = 'This port speaks https, and the request came as plain http.\n'
const answer = utf8(
  [
    'HTTP/1.1 400 Bad Request',
    'content-type: text/plain; charset=utf-8',
    `content-length: ${says.length}`,
    'connection: close',
    '',
    says,
  ].join('\r\n'),
)

/** OpenSSL's error codes for first bytes that are not those of a TLS client. */
const notTls: ReadonlySet<string> = new Set([
  'ERR_SSL_HTTP_REQUEST',
  'ERR_SSL_HTTPS_PROXY_REQUEST',
  'ERR_SSL_WRONG_VERSION_NUMBER',
])

/**
 * Ends failed handshakes, and answers one that was plain HTTP in its own words: one write of
 * constant bytes, which costs less than any handshake. Nothing of the request is read.
 */
export function answerPlainHttp(server: Pick<Server, 'on'>): void {
  // Errors of single connections are the peer's affair; unhandled, they would end the process.
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    if (!notTls.has(error.code ?? '')) return
    // The TLS layer is gone already, and what it lay on is not.
    const { _parent: below } = socket as { readonly _parent?: unknown }
    if (below instanceof Socket && below.writable) endGently(below, answer)
  })
}
