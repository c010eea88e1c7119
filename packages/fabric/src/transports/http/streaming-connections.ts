import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import type { Duplex } from 'node:stream'

/** Connections on which a request is streamed: its frames have deadlines of their own. */
const streaming = new WeakSet<Duplex>()

export const isStreaming = (socket: Duplex): boolean => streaming.has(socket)

/** Until the request is over: the next one on its connection has to come in time again. */
export function keepReading(request: IncomingMessage | Http2ServerRequest): void {
  if ('stream' in request) return
  const { socket } = request
  streaming.add(socket)
  request.once('close', () => streaming.delete(socket))
}
