import { concat, equalBytes, utf8 } from '../encoding/bytes.ts'
import { ByteWriter, hexBytes } from './sealed-bytes.ts'
import { type BatchProof, SEALED_BATCH_MAX } from './sealed-message.ts'

/**
 * SHA-256 over the concatenation, given by the caller: this package does no cryptography of its
 * own.
 */
export type Sha256 = (...parts: readonly Uint8Array[]) => Uint8Array

// Every signature and every hash starts with its own context and a zero byte, so that bytes made
// for one purpose mean nothing for another.
const messageContext = utf8('countersign-msg-v1\0')
const batchContext = utf8('countersign-batch-v1\0')
const nodeContext = utf8('countersign-node-v1\0')
const ackContext = utf8('countersign-ack-v1\0')
const ackBatchContext = utf8('countersign-acks-v1\0')

/**
 * Names a message's core: the leaf of a batch, the chain's link, and what a single signature
 * covers.
 */
export function messageDigest(core: Uint8Array, sha256: Sha256): Uint8Array {
  return sha256(messageContext, core)
}

/** Returns the bytes that the sender signs for one message. */
export function messageSignatureInput(digest: Uint8Array): Uint8Array {
  return concat(messageContext, digest)
}

/** Returns the bytes that the sender signs for `count` messages at once. */
export function batchSignatureInput(count: number, root: Uint8Array): Uint8Array {
  return concat(batchContext, new Uint8Array([count >> 8, count & 0xff]), root)
}

/**
 * The root over `leaves` and, for each leaf, its path (RFC 9162, section 2.1, with our contexts).
 */
export function batchTree(
  leaves: readonly Uint8Array[],
  sha256: Sha256,
): { readonly root: Uint8Array; readonly proofs: readonly BatchProof[] } {
  if (leaves.length === 0 || leaves.length > SEALED_BATCH_MAX) throw new TypeError('batch size')
  const count = leaves.length
  const levels: (readonly Uint8Array[])[] = []
  let level = leaves
  for (; level.length > 1; level = parents(level, sha256)) levels.push(level)
  const proofs = leaves.map((_, index) => ({ count, index, path: pathOf(index, levels) }))
  return { root: first(level), proofs }
}

/**
 * The messages of one signature, each proved for the price of the hashes that no other one has
 * computed yet. Make one for each signature, signing key and count.
 */
export class BatchProofs {
  readonly #sha256: Sha256
  /** Nodes that are known to lead to the signed root, by level and index. */
  readonly #nodes = new Map<number, Uint8Array>()

  constructor(sha256: Sha256) {
    this.#sha256 = sha256
  }

  /**
   * True when `leaf` stands at its place under the root that `isSigned` accepted, and every node of
   * its path is the right one. `isSigned` is called until it has returned true once.
   */
  prove(leaf: Uint8Array, proof: BatchProof, isSigned: (root: Uint8Array) => boolean): boolean {
    const climbed: [number, Uint8Array][] = []
    let node = leaf
    let taken = 0
    let level = 0
    for (let at = proof.index, width = proof.count; ; at >>= 1, width = (width + 1) >> 1) {
      const known = this.#nodes.get(nodeName(level, at))
      // From here up everything is known, the siblings too: they only have to be the same ones.
      if (known !== undefined) {
        return equalBytes(known, node) && this.#hasPath(proof, level, taken) && this.#learn(climbed)
      }
      climbed.push([nodeName(level, at), node])
      if (width === 1) break
      level++
      const right = at % 2 === 1
      if (!right && at + 1 >= width) continue
      const sibling = siblingOf(proof, taken++)
      if (sibling.length !== 32) return false
      climbed.push([nodeName(level - 1, at ^ 1), sibling])
      node = right
        ? this.#sha256(nodeContext, sibling, node)
        : this.#sha256(nodeContext, node, sibling)
    }
    return taken * 32 === proof.path.length && isSigned(node) && this.#learn(climbed)
  }

  /** Copies, because a view would keep the request alive that it came with. */
  #learn(climbed: readonly (readonly [number, Uint8Array])[]): true {
    for (const [name, bytes] of climbed) this.#nodes.set(name, bytes.slice())
    return true
  }

  #hasPath({ index, count, path }: BatchProof, from: number, taken: number): boolean {
    let next = taken
    let level = 0
    for (let at = index, width = count; width > 1; at >>= 1, width = (width + 1) >> 1, level++) {
      if (level < from || (at % 2 === 0 && at + 1 >= width)) continue
      const known = this.#nodes.get(nodeName(level, at ^ 1))
      if (known === undefined || !isAt(path, next++ * 32, known)) return false
    }
    return next * 32 === path.length
  }
}

/** The siblings of leaf `index`, from the leaves up; an odd level's last node has none. */
function pathOf(index: number, levels: readonly (readonly Uint8Array[])[]): Uint8Array {
  const siblings = levels.flatMap((level, depth) => level[(index >> depth) ^ 1] ?? [])
  return concat(...siblings)
}

/** Shorter than 32 bytes where the path has ended. */
function siblingOf({ path }: BatchProof, place: number): Uint8Array {
  return path.subarray(place * 32, place * 32 + 32)
}

/** Reports whether all of `bytes` stands in `whole` at `from`. */
function isAt(whole: Uint8Array, from: number, bytes: Uint8Array): boolean {
  if (from + bytes.length > whole.length) return false
  let difference = 0
  for (let i = 0; i < bytes.length; i++) difference |= (bytes[i] ?? 0) ^ (whole[from + i] ?? 0)
  return difference === 0
}

/** Levels count from the leaves; no batch has more than `SEALED_BATCH_MAX` of those. */
function nodeName(level: number, index: number): number {
  return level * (SEALED_BATCH_MAX + 1) + index
}

export const ACK_VERDICTS = { ack: 1, nack: 2, reject: 3 } as const
export type AckVerdict = keyof typeof ACK_VERDICTS

/** The statement that a receiver countersigns about one message. */
export interface AckStatement {
  readonly messageId: string
  /** SHA-256 of the whole sealed message, signature and proof included. */
  readonly sealedHash: Uint8Array
  /** The sender's signature inside it: the countersignature answers exactly that one. */
  readonly senderSignature: Uint8Array
  readonly group: string
  readonly verdict: AckVerdict
  /** Empty unless the verdict is `reject`. */
  readonly reason: string
}

const acks = new ByteWriter(256)

export function ackDigest(ack: AckStatement, sha256: Sha256): Uint8Array {
  const writer = acks.reset()
  writer.raw(hexBytes(ack.messageId.slice(4)))
  writer.raw(ack.sealedHash)
  writer.raw(ack.senderSignature)
  writer.text(ack.group)
  writer.u8(ACK_VERDICTS[ack.verdict])
  writer.text(ack.reason)
  return sha256(ackContext, writer.take())
}

/**
 * Returns the bytes that a receiver signs for all acknowledgements of one settlement, in their
 * order. Any single one is proved later by its path in `batchTree` over the digests.
 */
export function ackSignatureInput(digests: readonly Uint8Array[], sha256: Sha256): Uint8Array {
  const count = digests.length
  const { root } = batchTree(digests, sha256)
  return concat(ackBatchContext, new Uint8Array([count >> 8, count & 0xff]), root)
}

function parents(level: readonly Uint8Array[], sha256: Sha256): readonly Uint8Array[] {
  const above: Uint8Array[] = []
  for (let i = 0; i < level.length; i += 2) {
    const left = level[i]
    const right = level[i + 1]
    if (left === undefined) break
    above.push(right === undefined ? left : sha256(nodeContext, left, right))
  }
  return above
}

function first(level: readonly Uint8Array[]): Uint8Array {
  const [node] = level
  if (node === undefined) throw new TypeError('a tree has a root')
  return node
}
