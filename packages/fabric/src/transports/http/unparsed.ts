import { type Server, STATUS_CODES } from 'node:http'
import type { Http2SecureServer } from 'node:http2'
import type { Server as SecureServer } from 'node:https'
import type { Duplex } from 'node:stream'
import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { Reply } from './respond.ts'

/**
 * Answers what the HTTP parser gave up on: two lengths, a folded line, a head without end. There is
 * no request to answer, only a connection whose next bytes could mean anything; so it ends here,
 * after a refusal in the one form that every client knows.
 */
export function refuseUnparsed(
  server: Server | SecureServer | Http2SecureServer,
  refuse: (socket: Duplex, refusal: Refusal) => Promise<Reply>,
): void {
  const refused = new WeakSet<Duplex>()
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    const refusal = toRefusal(error.code ?? '')
    if (refusal === null || !socket.writable || hasAnswered(socket)) {
      socket.destroy()
      return
    }
    // The parser sees whatever else is already on its way; one answer is enough.
    if (refused.has(socket)) return
    refused.add(socket)
    refuse(socket, refusal).then(
      (reply) => socket.end(bytesOf(reply), () => socket.destroy()),
      () => socket.destroy(),
    )
  })
}

/** The gateway's own bound; a connector keeps Node's, which is half of it. */
const headLimit = { name: 'http.headBytes', value: 32 * 1024, unit: 'bytes' } as const

/** Null when the peer went away or fell silent: then nobody listens for an answer. */
function toRefusal(code: string): Refusal | null {
  if (code === 'HPE_HEADER_OVERFLOW' || code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW') {
    return overLimit('MESSAGE_TOO_LARGE', headLimit, code)
  }
  if (code === 'HPE_INVALID_EOF_STATE' || !code.startsWith('HPE_')) return null
  return new Refusal('MESSAGE_MALFORMED', code)
}

/** A response that has begun on this connection must not be followed by a second head. */
function hasAnswered(socket: Duplex): boolean {
  const { _httpMessage: response } = socket as { _httpMessage?: { headersSent: boolean } | null }
  return response?.headersSent ?? false
}

function bytesOf({ status, headers, body }: Reply): Buffer {
  const bytes = body instanceof Uint8Array ? body : new Uint8Array(0)
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
    `content-length: ${bytes.length}`,
    'connection: close',
  ]
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), bytes])
}
