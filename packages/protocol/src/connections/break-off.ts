import type { ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import { setImmediate } from 'node:timers/promises'

/**
 * Ends a response as one that is not whole: its connection, and over HTTP/2 its stream alone, by a
 * reset. `close` of Node with a code writes the end of a stream that does not wait for trailers
 * before the reset, so that a peer would take what it has for the whole. Resolves when it is done.
 * The owner of the stream has a listener for errors.
 */
export async function breakOff(
  response: ServerResponse | Pick<Http2ServerResponse, 'stream'>,
): Promise<void> {
  if (!('stream' in response)) {
    response.destroy()
    return
  }
  // A reset drops written bytes that have not left, which they do at the end of this turn.
  await setImmediate()
  response.stream.destroy(new Error('broken off'))
}
