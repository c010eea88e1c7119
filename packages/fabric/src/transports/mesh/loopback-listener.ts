import { createServer, type Server } from 'node:http'
import { createServer as createHttp2Server, type Http2SecureServer } from 'node:http2'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type ConnectionLimits, guardConnections } from '@countersign/protocol/tls'
import type { Refusal } from '../../lib/refusal.ts'
import { http2Limits } from '../http/http2-limits.ts'
import type { NodeRequest } from '../http/received-request.ts'
import type { NodeResponse, Reply } from '../http/respond.ts'
import { refuseTunnels } from '../http/tunnels.ts'
import { connectorHeadLimits, headOptions, refuseUnparsed } from '../http/unparsed.ts'

export interface LoopbackOptions {
  readonly connectionsMax: number
  /** Overrides of the defaults. */
  readonly responseLimits?: Partial<ConnectionLimits>
  handle(request: NodeRequest, response: NodeResponse): void
  /** Records a request that no handler can read, and returns the reply to it. */
  refuse(socket: Duplex, refusal: Refusal): Promise<Reply>
}

export interface Loopback {
  /** Not listening yet. */
  readonly server: Server
  /** Stops accepting, lets what is under way end for `graceMs`, then closes the rest. */
  close(graceMs: number): Promise<void>
}

/**
 * The listener of an agent's own machine: HTTP/1.1, and HTTP/2 with prior knowledge (RFC 9113,
 * section 3.3), which clients of gRPC speak on a plain address.
 */
export function createLoopback(options: LoopbackOptions): Loopback {
  const { connectionsMax, responseLimits: limits = {}, handle } = options
  const server = createServer(headOptions(connectorHeadLimits))
  const http2 = createHttp2Server(http2Limits(connectorHeadLimits))
  // It never listens itself, and has everything that the parts below use of one with TLS.
  const http2Server = http2 as unknown as Http2SecureServer
  server.maxConnections = connectionsMax
  for (const each of [server, http2Server]) {
    refuseUnparsed(each, connectorHeadLimits, (...given) => options.refuse(...given))
    refuseTunnels(each, (...given) => options.refuse(...given))
  }
  // Errors of single connections are the peer's affair; unhandled, they would end the process.
  http2.on('sessionError', () => undefined)
  const guarded = [server, http2Server].map((each) => guardConnections(each, { limits, handle }))
  const sessions = new Set<Socket>()
  const unknown = divideConnections(server, (socket) => {
    sessions.add(socket)
    socket.once('close', () => sessions.delete(socket))
    http2.emit('connection', socket)
  })
  return {
    server,
    async close(graceMs) {
      // The one that listens counts the connections of both, and waits for them.
      const timer = setTimeout(() => {
        for (const socket of sessions) socket.destroy()
      }, graceMs)
      for (const socket of unknown) socket.destroy()
      await Promise.all(guarded.map((each) => each.close(graceMs)))
      clearTimeout(timer)
    },
  }
}

/** The first octets of every connection of HTTP/2; no method of HTTP/1.1 begins so. */
const preface = Buffer.from('PRI')

/**
 * Gives each connection to the listener of the protocol that its first octets show. Returns the
 * connections that have not shown one yet, as a set that follows them.
 */
function divideConnections(server: Server, toHttp2: (socket: Socket) => void): ReadonlySet<Socket> {
  const unknown = new Set<Socket>()
  const listeners = server.listeners('connection') as ((socket: Socket) => void)[]
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) => {
    let first = Buffer.alloc(0)
    const timer = setTimeout(() => socket.destroy(), connectorHeadLimits.headMs)
    const ignore = (): void => undefined
    const look = (chunk: Buffer): void => {
      first = Buffer.concat([first, chunk])
      const known = Math.min(first.length, preface.length)
      const mayBe = first.subarray(0, known).equals(preface.subarray(0, known))
      if (mayBe && known < preface.length) return
      clearTimeout(timer)
      unknown.delete(socket)
      socket.off('data', look).off('error', ignore).pause()
      socket.unshift(first)
      if (mayBe) return toHttp2(socket)
      for (const listener of listeners) listener.call(server, socket)
      socket.resume()
    }
    // Without a listener the error of a peer that left would end the process.
    unknown.add(socket)
    socket.on('data', look).on('error', ignore)
    socket.once('close', () => {
      clearTimeout(timer)
      unknown.delete(socket)
    })
  })
  return unknown
}
