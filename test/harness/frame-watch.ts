import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { flagBits, frameTypes, preface } from './raw-http2.ts'

type End = 'whole' | 'reset'

/** A network in front of a server of HTTP/2 without TLS, which reads the frames on it. */
export interface FrameWatch {
  readonly port: number
  /** The ends of requests since `forget`, in order: by the end of a stream, or by a reset. */
  ends(): readonly End[]
  /** As `ends`, of responses. */
  answers(): readonly End[]
  forget(): void
  close(): void
}

const headBytes = 9

export async function openFrameWatch(serverPort: number): Promise<FrameWatch> {
  const sockets = new Set<Socket>()
  const seen: { requests: End[]; responses: End[] } = { requests: [], responses: [] }
  const server = createServer((client) => {
    const upstream = connect(serverPort, '127.0.0.1')
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    const ofRequests = endReader(preface.length)
    const ofResponses = endReader(0)
    client.on('data', (chunk: Buffer) => {
      seen.requests.push(...ofRequests(chunk))
      upstream.write(chunk)
    })
    upstream.on('data', (chunk: Buffer) => {
      seen.responses.push(...ofResponses(chunk))
      client.write(chunk)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    ends: () => seen.requests,
    answers: () => seen.responses,
    forget() {
      seen.requests = []
      seen.responses = []
    },
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** Reads the bytes of one direction, behind `skipped` that are not frames. */
function endReader(skipped: number): (chunk: Buffer) => readonly End[] {
  let unread = Buffer.alloc(0)
  let before = skipped
  return (chunk) => {
    unread = Buffer.concat([unread, chunk])
    const given = Math.min(before, unread.length)
    unread = unread.subarray(given)
    before -= given
    const ends: End[] = []
    while (before === 0 && unread.length >= headBytes) {
      const length = unread.readUIntBE(0, 3)
      if (unread.length < headBytes + length) break
      const [type, flags] = [unread[3] ?? 0, unread[4] ?? 0]
      const isContent = type === frameTypes.data || type === frameTypes.headers
      if (isContent && (flags & flagBits.endStream) !== 0) ends.push('whole')
      if (type === frameTypes.reset) ends.push('reset')
      unread = unread.subarray(headBytes + length)
    }
    return ends
  }
}
