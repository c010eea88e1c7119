import { connect, type TLSSocket } from 'node:tls'
import type { TlsCredential } from '@countersign/protocol/tls'
import { pemOf } from './raw-http.ts'
import { flagBits, frameOf, frameTypes, literal, preface } from './raw-http2.ts'

/** The frames of a flood: some that come first, then those of each turn, which counts from 0. */
export interface Flood {
  readonly first?: Buffer
  frames(turn: number): Buffer
}

export interface Flooder {
  readonly port: number
  /** Null for a client without a certificate. */
  readonly credential: TlsCredential | null
  /** True when the client takes what the server sends. */
  readonly reads: boolean
  /** The client gives up after this many bytes. */
  readonly bytesMax: number
  /**
   * Requests that are open at once, of which each turn sends one; without it, as many as the server
   * takes. Beyond the server's own bound Node ends the connection, and sends no GOAWAY.
   */
  readonly openMax?: number
}

/**
 * The code of the server's GOAWAY; -1 for an end without one, null for a connection that was left
 * open.
 */
export type FloodEnd = number | null

/**
 * Sends frames as fast as the server takes them, until it ends the connection or `bytesMax` are
 * sent.
 */
export async function flood(flooder: Flooder, { first, frames }: Flood): Promise<FloodEnd> {
  const { port, credential, reads, bytesMax, openMax = Number.POSITIVE_INFINITY } = flooder
  const socket = connect({
    ...{ host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: ['h2'] },
    ...(credential === null ? {} : pemOf(credential)),
  })
  const heard = hear(socket, reads)
  const giveUp = (): void => void socket.destroy()
  const settings = frameOf(frameTypes.settings, 0, 0, Buffer.alloc(0))
  socket.write(Buffer.concat([Buffer.from(preface), settings, first ?? Buffer.alloc(0)]))
  const unanswered = openMax < Number.POSITIVE_INFINITY ? setTimeout(giveUp, 120_000) : undefined
  let sentBytes = 0
  for (let turn = 0; sentBytes < bytesMax && !heard.isEnded; turn++) {
    const bytes = frames(turn)
    sentBytes += bytes.length
    // The callback comes once the kernel has the bytes.
    await Promise.race([new Promise((resolve) => socket.write(bytes, resolve)), heard.end])
    // The server is in this process, and needs its turn.
    do await new Promise((resolve) => setImmediate(resolve))
    while (!heard.isEnded && turn + 1 - heard.answered >= openMax)
  }
  // A server that looks twice a second has looked several times by then; it may be late.
  const timer = setTimeout(giveUp, heard.isEnded ? 0 : 15_000)
  await heard.end
  clearTimeout(timer)
  clearTimeout(unanswered)
  socket.destroy()
  return heard.code
}

interface Hearing {
  isEnded: boolean
  code: FloodEnd
  /** Requests that the server has answered or reset. */
  answered: number
  end: Promise<void>
}

function hear(socket: TLSSocket, reads: boolean): Hearing {
  const heard: Hearing = {
    ...{ isEnded: false, code: null, answered: 0 },
    end: Promise.resolve(),
  }
  let pending = Buffer.alloc(0)
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk])
    while (pending.length >= 9 && pending.length >= 9 + pending.readUIntBE(0, 3)) {
      const length = pending.readUIntBE(0, 3)
      if (pending[3] === frameTypes.goAway) heard.code = pending.readUInt32BE(13)
      if (endsStream(pending)) heard.answered += 1
      pending = pending.subarray(9 + length)
    }
  })
  if (!reads) socket.pause()
  heard.end = new Promise((resolve) => {
    const finish = (byPeer: boolean): void => {
      heard.isEnded = true
      if (byPeer) heard.code ??= -1
      resolve()
    }
    socket.once('end', () => finish(true))
    // With an error, or after bytes that were not read.
    socket.once('close', (hadError) => finish(hadError))
  })
  return heard
}

function endsStream(frame: Buffer): boolean {
  const { data, headers, reset } = frameTypes
  const [type, flags = 0] = frame.subarray(3)
  if (type === reset) return true
  return (type === data || type === headers) && (flags & flagBits.endStream) !== 0
}

const repeated = (bytes: Buffer, count = 500): Buffer =>
  Buffer.concat(Array.from({ length: count }, () => bytes))

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/**
 * HPACK: `x: aaa…` of 4,000 bytes into the dynamic table, and a reference to it (RFC 7541, section
 * 6).
 */
const largeField = Buffer.concat([
  Buffer.from([0x40, 1, 0x78, 0x7f, 0xa1, 0x1e]),
  Buffer.alloc(4_000, 0x61),
])
const referenceToIt = Buffer.of(0xbe)

/** Floods of which none asks for anything, by name; `head` makes the block of a request. */
export function floodsOf(head: (path: string, method: string) => Buffer): Record<string, Flood> {
  const { data, headers, priority, reset, settings, push, ping } = frameTypes
  const { windowUpdate, continuation, priorityUpdate } = frameTypes
  const { endHeaders, endStream } = flagBits
  const none = Buffer.alloc(0)
  const call = head('/agents/echo/', 'POST')
  /** A request whose body does not end. */
  const first = frameOf(headers, endHeaders, 1, call)
  const endless = frameOf(headers, 0, 1, call)
  const each = (frame: Buffer, before?: Buffer): Flood => ({
    ...(before === undefined ? {} : { first: before }),
    frames: () => repeated(frame),
  })
  const requests = (block: Buffer, after: (id: number) => Buffer = () => none): Flood => ({
    frames: (turn) => {
      const id = 2 * turn + 1
      return Buffer.concat([frameOf(headers, endHeaders | endStream, id, block), after(id)])
    },
  })
  /** Each request is served, and encodes 28 KiB in a few octets. */
  const referring = (before: Buffer): Flood => {
    const { frames } = requests(
      Buffer.concat([head('/v1/trust', 'GET'), repeated(referenceToIt, 7)]),
      () => repeated(frameOf(windowUpdate, 0, 0, uint32(1)), 2_000),
    )
    const filling = Buffer.concat([head('/v1/trust', 'GET'), largeField])
    const opening = frameOf(headers, endHeaders | endStream, 1, filling)
    return { first: Buffer.concat([before, opening]), frames: (turn) => frames(turn + 1) }
  }
  const tableSize = (bytes: number): Buffer =>
    frameOf(settings, 0, 0, Buffer.concat([Buffer.of(0, 1), uint32(bytes)]))
  return {
    ping: each(frameOf(ping, 0, 0, Buffer.alloc(8))),
    'answers to PING': each(frameOf(ping, 1, 0, Buffer.alloc(8))),
    settings: each(frameOf(settings, 0, 0, none)),
    'settings of the table': each(Buffer.concat([tableSize(0), tableSize(4_096)])),
    'answers to SETTINGS': each(frameOf(settings, 1, 0, none)),
    'windows of the connection': each(frameOf(windowUpdate, 0, 0, uint32(1))),
    'windows of a stream': each(frameOf(windowUpdate, 0, 1, uint32(1)), first),
    'windows that do not grow': each(frameOf(windowUpdate, 0, 1, uint32(0)), first),
    'windows that grow too far': each(frameOf(windowUpdate, 0, 1, uint32(0x7fffffff)), first),
    priorities: each(frameOf(priority, 0, 3, Buffer.alloc(5))),
    'priority updates': each(
      frameOf(priorityUpdate, 0, 0, Buffer.concat([uint32(1), Buffer.from('u=1')])),
    ),
    'frames of an unknown type': each(frameOf(0xfa, 0, 0, none)),
    continuations: each(frameOf(continuation, 0, 1, literal('x-a', 'b')), endless),
    'empty continuations': each(frameOf(continuation, 0, 1, none), endless),
    promises: each(frameOf(push, endHeaders, 1, Buffer.concat([uint32(2), call]))),
    'empty data': each(frameOf(data, 0, 1, none), first),
    'data that is all padding': {
      first,
      frames: () =>
        repeated(frameOf(data, 0x8, 1, Buffer.concat([Buffer.of(99), Buffer.alloc(99)])), 100),
    },
    'single bytes of data': each(frameOf(data, 0, 1, Buffer.from(' ')), first),
    'resets of one stream': each(frameOf(reset, 0, 1, uint32(8)), first),
    'requests that are reset at once': requests(head('/v1/trust', 'GET'), (id) =>
      frameOf(reset, 0, id, uint32(8)),
    ),
    'windows behind requests that are served': requests(head('/v1/trust', 'GET'), () =>
      repeated(frameOf(windowUpdate, 0, 0, uint32(1)), 2_000),
    ),
    'windows behind requests that refer to the table': referring(none),
    'windows behind such requests, with our settings acknowledged': referring(
      frameOf(settings, 1, 0, none),
    ),
    'heads of too many fields': requests(Buffer.concat([call, repeated(literal('a', 'b'), 1_000)])),
    'heads out of the compression table': requests(
      Buffer.concat([call, largeField, repeated(referenceToIt, 12_000)]),
    ),
    'heads without a method': requests(literal('a', 'b')),
  }
}
