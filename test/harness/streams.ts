import type { ServerResponse } from 'node:http'
import { bytesOf, type Door, type Draft } from './doors.ts'
import type { Answering } from './echo.ts'
import { dial } from './raw-http.ts'

/** A response that is read while it is being written. */
export interface OpenStream {
  /** Resolves with everything so far once it matches, or when the peer hung up. */
  until(pattern: RegExp): Promise<string>
  /** Resolves with everything once the response, or the connection, has ended. */
  ended(): Promise<string>
  close(): void
}

export async function openStream(door: Door, draft: Draft): Promise<OpenStream> {
  const place = await door.place(draft.to ?? 'echo', draft.path ?? '/')
  const credential = draft.as === null ? undefined : (draft.as ?? door.credential())
  const socket = await dial({ port: place.port, credential })
  let heard = ''
  let isOver = false
  const waiting = new Set<() => void>()
  const wake = (): void => {
    for (const each of waiting) each()
  }
  socket.on('data', (bytes: Buffer) => {
    heard += bytes.toString('utf8')
    // The last chunk of a chunked response.
    isOver ||= heard.endsWith('\r\n0\r\n\r\n')
    wake()
  })
  socket.on('error', () => undefined)
  socket.on('close', () => {
    isOver = true
    wake()
  })
  for (const part of bytesOf(draft, place)) socket.write(part)
  const wait = async (isDone: () => boolean): Promise<string> => {
    while (!isDone() && !isOver) {
      const { promise, resolve } = Promise.withResolvers<void>()
      waiting.add(resolve)
      await promise
      waiting.delete(resolve)
    }
    return heard
  }
  return {
    until: (pattern) => wait(() => pattern.test(heard)),
    ended: () => wait(() => false),
    close: () => socket.destroy(),
  }
}

/** Answers with an event stream, in these chunks; stays open when `isOpen`. */
export function streaming(chunks: readonly (string | Uint8Array)[], isOpen = false): Answering {
  return (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    writeAll(response, chunks)
      .then(() => (isOpen ? undefined : response.end()))
      .catch(() => response.destroy())
  }
}

/** One write at a time, so that each becomes a chunk of its own. */
async function writeAll(
  response: ServerResponse,
  chunks: readonly (string | Uint8Array)[],
): Promise<void> {
  for (const chunk of chunks) {
    await new Promise<void>((resolve) => response.write(chunk, () => resolve()))
    await new Promise((resolve) => setImmediate(resolve))
  }
}
