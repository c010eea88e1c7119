import { hash } from 'node:crypto'

/**
 * SHA-256 of `bytes`, written to `target` at `offset`. The detour through a binary string costs a
 * third of what a fresh Buffer for every digest does.
 */
export function sha256Into(target: Buffer, offset: number, bytes: Uint8Array): void {
  target.write(hash('sha256', bytes, 'binary'), offset, 'binary')
}

/** An entry is at most 65,535 bytes (C2SP tlog-tiles). Its first byte stays 0. */
const leaf = Buffer.alloc(1 + 65_535)

/** The only place that knows RFC 6962, section 2.1: which byte stands before a leaf, which before a node. */
export function leafHash(entry: Uint8Array): Buffer {
  const digest = Buffer.allocUnsafe(32)
  leaf.set(entry, 1)
  sha256Into(digest, 0, new Uint8Array(leaf.buffer, leaf.byteOffset, entry.length + 1))
  return digest
}

const node = Buffer.alloc(65)
node[0] = 0x01

export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  node.set(left, 1)
  node.set(right, 33)
  const digest = Buffer.allocUnsafe(32)
  sha256Into(digest, 0, node)
  return digest
}

/** As `nodeHash` for two siblings that lie side by side in `pairs`. */
export function pairHashInto(target: Buffer, offset: number, pairs: Buffer, at: number): void {
  pairs.copy(node, 1, at, at + 64)
  sha256Into(target, offset, node)
}

const blockBytes = 64
/** A fact of the largest size fits; what is longer gets memory of its own. */
const innerBytes = blockBytes + 64 * 1024 + 128
const inner = Buffer.alloc(innerBytes)
const outer = Buffer.alloc(blockBytes + 32)

/**
 * HMAC-SHA-256 (RFC 2104) with a key of at most 64 bytes, written to `target` at `offset`. An Hmac
 * object of Node costs more than the statement's signature leaves for a dozen commitments.
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
