import type { Http2Stream } from 'node:http2'
import { setImmediate } from 'node:timers/promises'

/**
 * Ends a stream of HTTP/2 as one that is not whole: by a reset, and by nothing else. `close` of
 * Node with a code writes the end of the stream before the reset, so that a peer would take what it
 * has for the whole. Resolves when it is done. The owner of the stream has a listener for errors.
 */
export async function breakOffStream(stream: Pick<Http2Stream, 'destroy'>): Promise<void> {
  // A reset drops written bytes that have not left, which they do at the end of this turn.
  await setImmediate()
  stream.destroy(new Error('broken off'))
}
