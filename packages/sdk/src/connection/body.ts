import { ArrivingBytes } from '@countersign/protocol'
import { AgentError, type FaultCode } from '../lib/fault.ts'
import type { BodyAccount } from './body-memory.ts'

/**
 * Reads everything of `chunks`; throws `tooLarge` above `bytesMax`, having held no more than about
 * twice that, in whatever pieces it came, and MEMORY_FULL when `account` lacks space for it.
 */
export async function readAll(
  chunks: AsyncIterable<Uint8Array>,
  bytesMax: number,
  tooLarge: FaultCode,
  account: BodyAccount | null = null,
): Promise<Uint8Array> {
  const body = new ArrivingBytes(bytesMax)
  for await (const chunk of chunks) {
    if (!body.add(chunk)) throw new AgentError(tooLarge, `more than ${bytesMax} bytes`)
    if (account?.take(chunk.length) === false) {
      throw new AgentError('MEMORY_FULL')
    }
  }
  return body.take()
}
