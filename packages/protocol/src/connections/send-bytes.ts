import type { ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import { breakOff } from './break-off.ts'

type Response = ServerResponse | Http2ServerResponse

/** More than this at once would be encrypted at once, and kept twice until the peer takes it. */
const sliceBytes = 64 * 1024

interface Remaining {
  readonly bytes: number
  /** The buffer that many responses send from; null where it is this response's own. */
  readonly shared: Uint8Array | null
}

const remaining = new WeakMap<Response, Remaining>()

/** Bytes of a response that are neither written nor sent: they wait for the peer as well. */
export function remainingBytes(response: Response): number {
  return remaining.get(response)?.bytes ?? 0
}

/**
 * The buffer that a response shares with others while something of it remains; null without one.
 */
export function sharedBytes(response: Response): Uint8Array | null {
  return remaining.get(response)?.shared ?? null
}

/**
 * Writes the whole body of a response and ends it. A large body is written slice by slice as the
 * peer takes it, so that one buffer serves every peer and nothing of it is copied in advance.
 * `isGood` is asked after every wait: a peer that loses its right to the rest gets a body that
 * breaks off, which no client takes for a whole one.
 */
export async function sendBytes(
  response: Response,
  bytes: Uint8Array,
  isShared = false,
  isGood: () => boolean = () => true,
): Promise<void> {
  const out = response as ServerResponse
  let isClosed = false
  const last = Math.floor(Math.max(0, bytes.length - 1) / sliceBytes) * sliceBytes
  if (last > 0) {
    out.once('close', () => {
      isClosed = true
    })
  }
  for (let at = 0; at < last; at += sliceBytes) {
    const left = bytes.length - at - sliceBytes
    remaining.set(response, { bytes: left, shared: isShared ? bytes : null })
    if (out.write(bytes.subarray(at, at + sliceBytes))) continue
    await drained(out)
    if (isClosed) return
    if (isGood()) continue
    remaining.delete(response)
    return breakOff(response)
  }
  remaining.delete(response)
  out.end(bytes.subarray(last))
}

/** Resolves when more may be written, or the peer has gone. */
export function drained(response: Response): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    response.on('drain', done)
    response.on('close', done)
  })
}

/** Reports whether bytes of the response still wait for its peer. */
export function hasUnsent(response: Response): boolean {
  const { stream } = response as { readonly stream?: { readonly writableLength: number } }
  return (stream ?? response).writableLength > 0
}
