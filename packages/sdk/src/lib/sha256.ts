import { hash } from 'node:crypto'
import { concat } from '@countersign/protocol'

/** SHA-256 of the concatenation. One call over a copy costs less than a Hash object does. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts
  const whole = parts.length === 1 && only !== undefined ? only : concat(...parts)
  const digest = hash('sha256', whole, 'buffer')
  return new Uint8Array(digest.buffer, digest.byteOffset, digest.byteLength)
}
