import { hash } from 'node:crypto'

/** By way of a binary string, which costs half of what a Hash object or a fresh array does. */
export function sha256(bytes: Uint8Array): Uint8Array {
  return Buffer.from(hash('sha256', bytes, 'binary'), 'binary')
}
