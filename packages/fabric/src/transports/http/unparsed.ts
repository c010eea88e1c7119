import { type Server, STATUS_CODES } from 'node:http'
import type { Http2SecureServer } from 'node:http2'
import type { Server as SecureServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { endGently } from '@countersign/protocol/tls'
import { overLimit } from '../../lib/limits.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { Reply } from './respond.ts'
import { isStreaming } from './streaming-connections.ts'

/**
 * The bounds on a request before a handler sees it: the parser enforces them, refusals name them.
 */
export interface HeadLimits {
  readonly headBytesMax: number
  /** A head must arrive in this time and a whole request in the other, or it is a slow-loris. */
  readonly headMs: number
  readonly requestMs: number
}

const headDeadlines = { headMs: 10_000, requestMs: 60_000 } as const
export const gatewayHeadLimits: HeadLimits = { headBytesMax: 32 * 1024, ...headDeadlines }
export const connectorHeadLimits: HeadLimits = { headBytesMax: 16 * 1024, ...headDeadlines }

/** Options of a listener that keeps these limits, and leaves to us what has to be on record. */
export function headOptions({ headBytesMax, headMs, requestMs }: HeadLimits) {
  return {
    maxHeaderSize: headBytesMax,
    headersTimeout: headMs,
    requestTimeout: requestMs,
    connectionsCheckingInterval: 1_000,
    requireHostHeader: false,
  }
}

/**
 * Answers requests that the HTTP parser gave up on: two lengths, a folded line, a head without end,
 * a request that did not arrive in time. There is only a connection whose next bytes could mean
 * anything, not a request to answer; so it ends here, after a refusal in the one form that every
 * client knows.
 */
export function refuseUnparsed(
  server: Server | SecureServer | Http2SecureServer,
  limits: HeadLimits,
  refuse: (socket: Duplex, refusal: Refusal) => Promise<Reply>,
): void {
  const refused = new WeakSet<Duplex>()
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    if (isTimeout(error.code ?? '') && isStreaming(socket)) return
    // The parser sees whatever else is already on its way; one answer is enough.
    if (refused.has(socket)) return
    const code = error.code ?? ''
    const refusal = isTimeout(code)
      ? lateRefusal(socket as Socket, limits)
      : toRefusal(code, limits)
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

/** A constant of Node's parser. */
const extensionsLimit = {
  name: 'http.chunkExtensionBytes',
  value: 16 * 1024,
  unit: 'bytes',
} as const

/** Null for a connection on which no request has begun: a client may open one in advance. */
function lateRefusal(socket: Socket, { headMs, requestMs }: HeadLimits): Refusal | null {
  if (responseOn(socket) !== null) {
    const limit = { name: 'http.requestMs', value: requestMs, unit: 'ms' } as const
    return overLimit('MESSAGE_MALFORMED', limit)
  }
  const limit = { name: 'http.headMs', value: headMs, unit: 'ms' } as const
  return socket.bytesRead === 0 ? null : overLimit('MESSAGE_MALFORMED', limit)
}

/** Null when the peer went away: then nothing receives an answer. */
function toRefusal(code: string, { headBytesMax }: HeadLimits): Refusal | null {
  if (code === 'HPE_HEADER_OVERFLOW') {
    const limit = { name: 'http.headBytes', value: headBytesMax, unit: 'bytes' } as const
    return overLimit('MESSAGE_TOO_LARGE', limit, code)
  }
  if (code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW') {
    return overLimit('MESSAGE_TOO_LARGE', extensionsLimit, code)
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
