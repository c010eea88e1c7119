import { sha256, sha256Into } from './sha256.ts'

const blockBytes = 64
/** A fact of the largest size fits; what is longer gets memory of its own. */
const innerBytes = blockBytes + 64 * 1024 + 128
const inner = Buffer.alloc(innerBytes)
const outer = Buffer.alloc(blockBytes + 32)

/**
 * HMAC-SHA-256 (RFC 2104) with a key of at most 64 bytes, written to `target` at `offset`. An Hmac
 * object of Node costs several times as much.
 */
export function hmacInto(target: Buffer, offset: number, key: Uint8Array, bytes: Uint8Array): void {
  if (key.length > blockBytes) throw new TypeError('the key is longer than a block')
  const end = blockBytes + bytes.length
  const whole = end <= innerBytes ? inner : Buffer.alloc(end)
  for (let i = 0; i < blockBytes; i++) {
    const byte = i < key.length ? (key[i] as number) : 0
    whole[i] = byte ^ 0x36
    outer[i] = byte ^ 0x5c
  }
  whole.set(bytes, blockBytes)
  sha256Into(outer, blockBytes, new Uint8Array(whole.buffer, whole.byteOffset, end))
  sha256Into(target, offset, outer)
}

export function hmacSha256(key: Uint8Array, bytes: Uint8Array): Buffer {
  const code = Buffer.allocUnsafe(32)
  hmacInto(code, 0, key, bytes)
  return code
}

/** The key of at most a block that stands for `key` (RFC 2104, section 2): a copy, or a digest. */
export function hmacKey(key: Uint8Array): Uint8Array {
  return key.length > blockBytes ? sha256(key) : new Uint8Array(key)
}
