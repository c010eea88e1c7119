import { sha256Into } from '../lib/sha256.ts'

/** An entry is at most 65,535 bytes (C2SP tlog-tiles). Its first byte stays 0. */
const leaf = Buffer.alloc(1 + 65_535)

/**
 * The only place that knows RFC 6962, section 2.1: which byte stands before a leaf, which before a
 * node.
 */
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
