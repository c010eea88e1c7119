import type { Socket } from 'node:net'
import type { TlsCredential } from '@countersign/protocol/tls'
import type { HeaderList, Place } from './doors.ts'
import { dial, type Heard, parseHeard } from './raw-http.ts'

export interface HalfSent {
  /** The certificate that is shown; none when undefined, plain HTTP when null. */
  readonly credential?: TlsCredential | null | undefined
  readonly headers?: HeaderList
  readonly method?: string
  readonly contentType?: string
  /** The length that the head promises. */
  readonly length: number
  /** The bytes that are sent at once. */
  readonly sent: Uint8Array
}

/** A request whose body has not arrived whole. */
export interface Unfinished {
  send(bytes: Uint8Array): void
  /** The first answer; null when the peer hangs up without one. */
  answer(): Promise<Heard | null>
  /** The answer that is there now, without waiting. */
  heard(): Heard | null
  /** The status of every response so far, informational ones included. */
  statuses(): readonly number[]
  /** Resolves with the next bytes, or when the peer hangs up. */
  news(): Promise<void>
  close(): void
}

/** Opens a connection of its own, and sends a head and part of a body. */
export async function sendHalf(place: Place, half: HalfSent): Promise<Unfinished> {
  const socket = await dial({ port: place.port, credential: half.credential })
  const answers = listen(socket)
  const lines = [
    `${half.method ?? 'POST'} ${place.path} HTTP/1.1`,
    `Host: ${place.authority}`,
    `Content-Type: ${half.contentType ?? 'application/json'}`,
    `Content-Length: ${half.length}`,
    ...(half.headers ?? []).map(([name, value]) => `${name}: ${value}`),
  ]
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
  if (half.sent.length > 0) socket.write(half.sent)
  return { ...answers, send: (bytes) => socket.write(bytes), close: () => socket.destroy() }
}

function listen(socket: Socket): Pick<Unfinished, 'answer' | 'heard' | 'statuses' | 'news'> {
  let bytes = Buffer.alloc(0)
  let closed = false
  const waiting = new Set<() => void>()
  const heard = (): Heard | null => parseHeard(bytes, closed)
  const look = (): void => {
    for (const wake of waiting) wake()
  }
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    look()
  })
  socket.on('error', () => undefined)
  socket.on('close', () => {
    closed = true
    look()
  })
  return {
    heard,
    statuses: () =>
      [...bytes.toString('latin1').matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map(([, code]) =>
        Number(code),
      ),
    news: () =>
      new Promise((resolve) => {
        const wake = (): void => {
          waiting.delete(wake)
          resolve()
        }
        waiting.add(wake)
        if (closed) wake()
      }),
    answer: () =>
      new Promise((resolve) => {
        const wake = (): void => {
          const answer = heard()
          if (answer === null && !closed) return
          waiting.delete(wake)
          resolve(answer)
        }
        waiting.add(wake)
        wake()
      }),
  }
}
