import { ArrivingBytes } from '@countersign/protocol'
import type { BodyShare } from './body-budget.ts'
import type { UpstreamResponse } from './upstream.ts'

/** The body of an answer, on its account. Null, and the rest is given up, beyond `bytesMax`. */
export async function readBodyOf(
  response: UpstreamResponse,
  bytesMax: number,
  share: BodyShare,
): Promise<Uint8Array | null> {
  const body = new ArrivingBytes(bytesMax)
  const chunks = response.body[Symbol.asyncIterator]()
  for (;;) {
    share.isAwaited = true
    const next = await chunks.next()
    share.isAwaited = false
    if (next.done === true) break
    const before = body.heldBytes
    if (!body.add(next.value)) {
      response.discard()
      return null
    }
    share.take(body.heldBytes - before)
  }
  share.arrived()
  return body.take()
}
