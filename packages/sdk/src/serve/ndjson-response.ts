import { utf8 } from '@countersign/protocol'
import { toWebStream } from '../connection/web-stream.ts'
import { toLines } from '../frames/outgoing-frames.ts'

/**
 * A response of one JSON line for each value, each sent as it comes and no faster than it is taken.
 * It streams as the answer to a streamed request; to any other one it is held and sent whole.
 */
export function ndjsonResponse(
  values: AsyncIterable<unknown> | Iterable<unknown>,
  init: ResponseInit = {},
): Response {
  const headers = new Headers(init.headers)
  if (!headers.has('content-type')) headers.set('content-type', 'application/x-ndjson')
  return new Response(toWebStream(encoded(values)), { ...init, headers })
}

async function* encoded(
  values: AsyncIterable<unknown> | Iterable<unknown>,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const line of toLines(values)) yield utf8(line)
}
