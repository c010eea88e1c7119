import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import type { TlsCredential } from '@countersign/protocol/tls'
import { pemOf } from './raw-http.ts'

/** The result of one HTTP/2 stream; `reset` is the error code of the stream or the connection. */
export interface HeardStream {
  readonly body: Buffer
  readonly reset: number | null
}

export interface RawStream {
  readonly port: number
  readonly credential: TlsCredential
  /** Pseudo-header fields included, in this order, as they are. */
  readonly fields: readonly (readonly [string, string])[]
  readonly body?: string
}

/** RFC 9113, section 6, and RFC 9218, section 7.1. */
export const frameTypes = {
  ...{ data: 0, headers: 1, priority: 2, reset: 3, settings: 4, push: 5, ping: 6, goAway: 7 },
  ...{ windowUpdate: 8, continuation: 9, priorityUpdate: 16 },
} as const
export const flagBits = { endStream: 0x1, endHeaders: 0x4 } as const
export const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
/** As in raw-http.ts. */
const silenceMsMax = 120_000

/** Sends one request in frames of our own making, which no client library would agree to send. */
export async function streamOf({
  port,
  credential,
  fields,
  body,
}: RawStream): Promise<HeardStream> {
  const socket = connect({
    host: '127.0.0.1',
    port,
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
    ...pemOf(credential),
  })
  const block = Buffer.concat(fields.map(([name, value]) => literal(name, value)))
  const bytes = Buffer.from(body ?? '')
  const end = bytes.length === 0 ? flagBits.endStream : 0
  socket.write(
    Buffer.concat([
      Buffer.from(preface),
      frameOf(frameTypes.settings, 0, 0, Buffer.alloc(0)),
      frameOf(frameTypes.headers, flagBits.endHeaders | end, 1, block),
      ...(end === 0 ? [frameOf(frameTypes.data, flagBits.endStream, 1, bytes)] : []),
    ]),
  )
  return hear(socket)
}

function hear(socket: TLSSocket): Promise<HeardStream> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new Error('the peer fell silent'))
    }, silenceMsMax)
    let pending = Buffer.alloc(0)
    const body: Buffer[] = []
    const finish = (reset: number | null): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve({ body: Buffer.concat(body), reset })
    }
    socket.on('error', () => undefined)
    socket.on('close', () => finish(-1))
    socket.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk])
      while (pending.length >= 9 && pending.length >= 9 + pending.readUIntBE(0, 3)) {
        const length = pending.readUIntBE(0, 3)
        const [type, flags] = [pending[3] ?? 0, pending[4] ?? 0]
        const payload = pending.subarray(9, 9 + length)
        pending = pending.subarray(9 + length)
        if (type === frameTypes.reset) return finish(payload.readUInt32BE(0))
        if (type === frameTypes.goAway) return finish(payload.readUInt32BE(4))
        if (type === frameTypes.data) body.push(payload)
        const isContent = type === frameTypes.data || type === frameTypes.headers
        if (isContent && (flags & flagBits.endStream) !== 0) return finish(null)
      }
    })
  })
}

export function frameOf(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** A field that is never indexed, with a new name (RFC 7541, section 6.2.3). */
export function literal(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.of(0x10), text(name), text(value)])
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1')
  const prefix: number[] = []
  if (bytes.length < 127) prefix.push(bytes.length)
  else {
    prefix.push(127)
    let rest = bytes.length - 127
    for (; rest >= 128; rest = Math.floor(rest / 128)) prefix.push((rest % 128) + 128)
    prefix.push(rest)
  }
  return Buffer.concat([Buffer.from(prefix), bytes])
}

interface RawFrame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly length: number
}

/** Reads frames of HTTP/2, behind the preface of a client. */
export function readFrames(socket: Socket, act: (frame: RawFrame) => void): void {
  let pending = Buffer.alloc(0)
  let greets = true
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk])
    if (greets && pending.length < preface.length) return
    if (greets) pending = pending.subarray(preface.length)
    greets = false
    while (pending.length >= 9 && pending.length >= 9 + pending.readUIntBE(0, 3)) {
      const length = pending.readUIntBE(0, 3)
      const [type = 0, flags = 0] = [pending[3], pending[4]]
      const stream = pending.readUInt32BE(5)
      pending = pending.subarray(9 + length)
      act({ type, flags, stream, length })
    }
  })
}

/** `:status: 200` of the static table (RFC 7541, appendix A). */
export const statusOk: Buffer = Buffer.from([0x88])

export interface RawReceiver {
  /** The settings that it states (RFC 9113, section 6.5.1). */
  readonly settings?: Buffer
  onConnection?(socket: Socket): void
  onData?(bytes: number): void
  /** A whole request with a body has come. */
  onRequest?(socket: Socket, stream: number): void
}

/** A receiver whose frames are of our own making; it never widens the window of a connection. */
export async function rawReceiver(acts: RawReceiver) {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => undefined))
    socket.write(frameOf(frameTypes.settings, 0, 0, acts.settings ?? Buffer.alloc(0)))
    acts.onConnection?.(socket)
    readFrames(socket, ({ type, flags, stream, length }) => {
      if (type === frameTypes.data) acts.onData?.(length)
      if (type === frameTypes.settings && (flags & 1) === 0) {
        socket.write(frameOf(frameTypes.settings, 1, 0, Buffer.alloc(0)))
      }
      const isWhole = type === frameTypes.data && (flags & flagBits.endStream) !== 0
      if (isWhole) acts.onRequest?.(socket, stream)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => sockets.length,
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

/**
 * A receiver that answers whole requests, and takes no more than the first 65,535
 * bytes of a connection (RFC 9113, section 6.9.2).
 */
export async function grudgingReceiver() {
  let bodyBytes = 0
  const end = flagBits.endHeaders | flagBits.endStream
  const receiver = await rawReceiver({
    onData: (bytes) => {
      bodyBytes += bytes
    },
    onRequest: (socket, stream) =>
      void socket.write(frameOf(frameTypes.headers, end, stream, statusOk)),
  })
  return { ...receiver, bodyBytes: () => bodyBytes }
}
