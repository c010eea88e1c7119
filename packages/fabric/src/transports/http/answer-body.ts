import { ArrivingBytes } from '@countersign/protocol'
import type { BodyShare } from '../../budgets/body-budget.ts'
import { overLimit } from '../../lib/limits.ts'
import type { Refusal } from '../../lib/refusal.ts'
import type { UpstreamResponse } from '../../routes/upstream.ts'

/** The body of an answer, on its account. Beyond `bytesMax` the rest is given up. */
export async function readBodyOf(
  response: UpstreamResponse,
  bytesMax: number,
  share: BodyShare,
): Promise<Uint8Array | Refusal> {
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
      const limit = { name: 'limits.bodyBytes', value: bytesMax, unit: 'bytes' } as const
      return overLimit('RESPONSE_REJECTED', limit, 'the body of the answer')
    }
    share.take(body.heldBytes - before)
  }
  share.arrived()
  return body.take()
}
