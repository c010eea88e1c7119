import { randomBytes } from 'node:crypto'
import { connect } from 'node:http2'
import type { Readable } from 'node:stream'
import type { TlsCredential } from '@countersign/protocol/tls'
import { bodyOf, bytesOf, type Door, type Draft } from './doors.ts'
import { dial, pemOf } from './raw-http.ts'

/** An answer of which its caller has taken the beginning, and takes no more for the time being. */
export interface HalfRead {
  /** Takes the rest; resolves with the bytes of all that came, once the answer is over. */
  rest(): Promise<Buffer>
}

/**
 * An address of its own for a caller that stops reading. The kernel remembers for each pair of
 * addresses how far segments were reordered, and gives the sender a larger buffer for it: after
 * busy connections between the same two, it took all of an answer of 4 MiB.
 */
function ownAddress(): { readonly localAddress: string } | Record<string, never> {
  if (process.platform !== 'linux') return {}
  const [a = 1, b = 1, c = 1] = randomBytes(3)
  return { localAddress: `127.${1 + (a % 254)}.${b}.${1 + (c % 254)}` }
}

/** As `send`, by a caller that stops reading when the answer begins. */
export async function readHalf(door: Door, draft: Draft): Promise<HalfRead> {
  const place = await door.place(draft.to ?? 'echo', draft.path ?? '/')
  const credential = draft.as ?? door.credential()
  const socket = await dial({ port: place.port, credential, ...ownAddress() })
  const paused = pausing(socket)
  // An answer is over with its connection, which the peer would keep for some seconds.
  const headers = [...(draft.headers ?? []), ['Connection', 'close'] as const]
  for (const part of bytesOf({ ...draft, headers }, place)) socket.write(part)
  return paused.then((rest) => ({ rest: () => rest().finally(() => socket.destroy()) }))
}

/** The same over HTTP/2, where no more than a window of it is on its way. */
export async function readHalfHttp2(door: Door, draft: Draft): Promise<HalfRead> {
  const { port, authority, path } = await door.place(draft.to ?? 'echo', draft.path ?? '/')
  const session = connect(`https://127.0.0.1:${port}`, {
    rejectUnauthorized: false,
    ...pemFor(door, draft),
  })
  session.on('error', () => undefined)
  const body = bodyOf(draft)
  const method = draft.method ?? (body.length === 0 ? 'GET' : 'POST')
  const type = body.length === 0 ? {} : { 'content-type': draft.contentType ?? 'application/json' }
  const stream = session.request({
    ':method': method,
    ':path': path,
    ':authority': authority,
    ...type,
  })
  const paused = pausing(stream)
  stream.end(Buffer.from(body))
  return paused.then((rest) => ({ rest: () => rest().finally(() => session.destroy()) }))
}

function pemFor(door: Door, draft: Draft): { readonly cert: string; readonly key: string } {
  const credential: TlsCredential = draft.as ?? door.credential()
  return pemOf(credential)
}

async function pausing(from: Readable): Promise<() => Promise<Buffer>> {
  const pieces: Buffer[] = []
  from.on('error', () => undefined)
  const closed = new Promise<void>((resolve) => from.once('close', () => resolve()))
  await new Promise<void>((resolve) => {
    from.on('data', (bytes: Buffer) => {
      pieces.push(bytes)
      if (pieces.length === 1) from.pause()
      resolve()
    })
    void closed.then(resolve)
  })
  return async () => {
    from.resume()
    await closed
    return Buffer.concat(pieces)
  }
}
