import { concat } from '@countersign/protocol'
import { AgentError, type FaultCode } from './fault.ts'

/** Everything of `chunks`; throws `tooLarge` above `bytesMax`, having held no more than that. */
export async function readAll(
  chunks: AsyncIterable<Uint8Array>,
  bytesMax: number,
  tooLarge: FaultCode,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let length = 0
  for await (const chunk of chunks) {
    length += chunk.length
    if (length > bytesMax) throw new AgentError(tooLarge, `more than ${bytesMax} bytes`)
    parts.push(chunk)
  }
  const [only] = parts
  return parts.length === 1 && only !== undefined ? only : concat(...parts)
}
