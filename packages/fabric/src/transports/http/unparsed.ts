import { type Server, STATUS_CODES } from 'node:http'
import type { Http2SecureServer } from 'node:http2'
import type { Server as SecureServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { endGently } from '@countersign/protocol/tls'
import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { Reply } from './respond.ts'

/**
 * Answers what the HTTP parser gave up on: two lengths, a folded line, a head without end, a request
 * that did not arrive in time. There is no request to answer, only a connection whose next bytes could
 * mean anything; so it ends here, after a refusal in the one form that every client knows.
 */
export function refuseUnparsed(
  server: Server | SecureServer | Http2SecureServer,
  refuse: (socket: Duplex, refusal: Refusal) => Promise<Reply>,
): void {
  const refused = new WeakSet<Duplex>()
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    // The parser sees whatever else is already on its way; one answer is enough.
    if (refused.has(socket)) return
    const code = error.code ?? ''
    const refusal = isTimeout(code) ? lateRefusal(socket as Socket) : toRefusal(code)
    if (refusal === null || !socket.writable || hasAnswered(socket)) {
      socket.destroy()
      return
    }
    refused.add(socket)
    refuse(socket, refusal).then(
      (reply) => endWith(socket, isTimeout(code) ? { ...reply, status: 408 } : reply),
      () => socket.destroy(),
    )
  })
}

const isTimeout = (code: string): boolean => code === 'ERR_HTTP_REQUEST_TIMEOUT'

/** The gateway's own bound; a connector keeps Node's, which is half of it. */
const headLimit = { name: 'http.headBytes', value: 32 * 1024, unit: 'bytes' } as const
const headMsLimit = { name: 'http.headMs', value: 10_000, unit: 'ms' } as const
const requestMsLimit = { name: 'http.requestMs', value: 60_000, unit: 'ms' } as const

/** Null for a connection on which no request has begun: a client may open one in advance. */
function lateRefusal(socket: Socket): Refusal | null {
  if (responseOn(socket) !== null) return overLimit('MESSAGE_MALFORMED', requestMsLimit)
  return socket.bytesRead === 0 ? null : overLimit('MESSAGE_MALFORMED', headMsLimit)
}

/** Null when the peer went away: then nothing receives an answer. */
function toRefusal(code: string): Refusal | null {
  if (code === 'HPE_HEADER_OVERFLOW' || code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW') {
    return overLimit('MESSAGE_TOO_LARGE', headLimit, code)
  }
  if (code === 'HPE_INVALID_EOF_STATE' || !code.startsWith('HPE_')) return null
  return new Refusal('MESSAGE_MALFORMED', code)
}

/** A response that has begun on this connection must not be followed by a second head. */
function hasAnswered(socket: Duplex): boolean {
  return responseOn(socket)?.headersSent ?? false
}

/** The response to the request that this connection is sending, or waits for. */
function responseOn(socket: Duplex): { readonly headersSent: boolean } | null {
  const { _httpMessage } = socket as { _httpMessage?: { headersSent: boolean } | null }
  return _httpMessage ?? null
}

/** Writes a reply without a request object as the last bytes of its HTTP/1.1 connection. */
export function endWith(socket: Duplex, { status, headers, body }: Reply): void {
  const bytes = body instanceof Uint8Array ? body : new Uint8Array(0)
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
    `content-length: ${bytes.length}`,
    'connection: close',
  ]
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  endGently(socket as Socket, Buffer.concat([head, bytes]))
}
