import {
  batchEntriesMax,
  MalformedError,
  type MeshEntry,
  meshEntryOf,
  type PackedEntry,
  parseLeaf,
} from '@countersign/protocol'
import { openFacts } from './facts.ts'
import { leafHash } from './hash.ts'
import { ledgerLimits } from './limits.ts'
import { LedgerDamage } from './store.ts'

/** An entry that its connector has encoded, with salts of its own. */
export interface StatedEntry extends MeshEntry, PackedEntry {
  /** Unix milliseconds, by the clock of the connector. */
  readonly at: number
  readonly leafHash: Buffer
}

/** An entry that cannot be read; its leaf is part of its batch all the same. */
export interface UnreadEntry {
  readonly leafHash: Buffer
  readonly fault: MalformedError
}

export type ReceivedEntry = StatedEntry | UnreadEntry

export function isUnread(entry: ReceivedEntry): entry is UnreadEntry {
  return 'fault' in entry
}

const bundledBytesMax = 65_535

/** One element for each entry, so that one which is malformed is refused alone. */
export function readStatedEntry({ leaf: encoded, detail }: PackedEntry): ReceivedEntry {
  // No log holds it, nor does a tree hash it (C2SP tlog-tiles).
  if (encoded.length > bundledBytesMax) throw new MalformedError('a leaf is too large')
  const hash = leafHash(encoded)
  try {
    const leaf = parseLeaf(encoded)
    if (detail.length > ledgerLimits.detailBytesMax) {
      throw new MalformedError('the facts of an entry are too large')
    }
    const bytes = Buffer.from(detail.buffer, detail.byteOffset, detail.length)
    const facts = openFacts(bytes, leaf.facts).map(({ name, value }) => [name, value] as const)
    const entry = meshEntryOf(leaf, Object.fromEntries(facts))
    return { ...entry, at: leaf.at, leaf: encoded, leafHash: hash, detail }
  } catch (cause) {
    // The same bytes in the log would be damage; here they are what a client sent.
    const isMalformed = cause instanceof MalformedError
    if (!isMalformed && !(cause instanceof LedgerDamage)) throw cause
    return { leafHash: hash, fault: isMalformed ? cause : new MalformedError(cause.message) }
  }
}

/** Positions of a batch whose entries are not stored, with the hashes of their leaves. */
export type RefusedLeaves = ReadonlyMap<number, Uint8Array>

const positionBytes = 2
const hashBytes = 32
const rowBytes = positionBytes + hashBytes

/** `u16 position ‖ leaf hash(32)` for each, in ascending order: the fact `refused` of a batch. */
export function encodeRefused(refused: RefusedLeaves): Uint8Array {
  const bytes = Buffer.alloc(rowBytes * refused.size)
  let at = 0
  for (const [position, hash] of refused) {
    bytes.set(hash, bytes.writeUInt16BE(position, at))
    at += rowBytes
  }
  return bytes
}

/** Throws LedgerDamage on bytes that `encodeRefused` does not write. */
export function parseRefused(bytes: Uint8Array): RefusedLeaves {
  const buffer = Buffer.from(bytes)
  const refused = new Map<number, Uint8Array>()
  let last = -1
  for (let at = 0; at < buffer.length; at += rowBytes) {
    if (at + rowBytes > buffer.length) throw new LedgerDamage('the fact `refused` ends early')
    const position = buffer.readUInt16BE(at)
    if (position <= last || position >= batchEntriesMax) {
      throw new LedgerDamage('the fact `refused` is out of order')
    }
    last = position
    refused.set(position, new Uint8Array(buffer.subarray(at + positionBytes, at + rowBytes)))
  }
  return refused
}
