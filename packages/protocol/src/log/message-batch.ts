import { concat, utf8 } from '../encoding/bytes.ts'
import {
  batchSignatureBytes,
  type MessageAlgorithm,
  messageBatchMax,
} from '../signatures/http-signature-base.ts'
import { type Hash, type VerifySignature, verifyEd25519 } from '../signatures/web-crypto.ts'
import { hashLeaf, hashLeafWith, hashNodeWith, rootOfPath, rootOfPathWith } from './merkle.ts'

/**
 * One Ed25519 signature for several HTTP messages of one signer. Each message has a base of its own
 * (RFC 9421, section 2.5), whose `alg` is `messageAlgorithms.batch`, and a signature value
 *
 * ```text
 * signature(64) ‖ u8 size ‖ u8 index ‖ path (32 bytes for each hash, from the leaf to the root)
 * ```
 *
 * The signature is over the context, `u8 size` and the root of the tree (RFC 6962, section 2.1)
 * whose leaves are the bases. No base begins like the context, so that neither kind of signature
 * verifies as the other. A base has a nonce or the signature of a request, so that no reader of a
 * path can guess the messages behind its hashes.
 */
const context = utf8('countersign-http-batch-v1\0')

const headBytes = 66

/** The text that a batch signs: its messages are `size` leaves below `root`. */
export function messageBatchInput(size: number, root: Uint8Array): Uint8Array {
  return concat(context, Uint8Array.of(size), root)
}

/** The length of every `messageBatchInput`, and of no base that begins like one. */
export const messageBatchInputBytes = context.length + 1 + 32

export function isMessageBatchInput(bytes: Uint8Array): boolean {
  return bytes.length === messageBatchInputBytes && context.every((byte, at) => bytes[at] === byte)
}

/**
 * Signs `bases`, 2 to `messageBatchMax`, with one signature of `sign`; returns the signature value
 * of each, in order.
 */
export function signMessageBatch(
  bases: readonly string[],
  { hash, sign }: { readonly hash: Hash; sign(bytes: Uint8Array): Uint8Array },
): readonly Uint8Array[] {
  const size = bases.length
  if (size < 2 || size > messageBatchMax) throw new RangeError('a batch has 2 to 32 messages')
  const paths: Uint8Array[][] = bases.map(() => [])
  let level = bases.map((base) => hashLeafWith(hash, utf8(base)))
  for (let depth = 0; level.length > 1; depth++) {
    for (const [leaf, path] of paths.entries()) {
      const sibling = level[(leaf >> depth) ^ 1]
      if (sibling !== undefined) path.push(sibling)
    }
    level = parents(level, hash)
  }
  const [root] = level
  if (root === undefined) throw new TypeError('a tree has a root')
  const signature = sign(messageBatchInput(size, root))
  return paths.map((path, index) => concat(signature, Uint8Array.of(size, index), ...path))
}

/** A last node without a sibling is its own parent. */
function parents(level: readonly Uint8Array[], hash: Hash): Uint8Array[] {
  const above: Uint8Array[] = []
  for (let at = 0; at < level.length; at += 2) {
    const [left, right] = [level[at], level[at + 1]]
    if (left === undefined) break
    above.push(right === undefined ? left : hashNodeWith(hash, left, right))
  }
  return above
}

/** A signature of a message, as it stands in the message and in the ledger. */
export interface SignedBase {
  readonly alg: MessageAlgorithm
  readonly signature: Uint8Array
  readonly base: string
}

/** The means of a server, which does not wait for WebCrypto; browsers leave them out. */
export interface Verifying {
  readonly verify?: VerifySignature
  readonly hash?: Hash
}

/**
 * Reports whether the key signed the message, by itself or in a batch. False for everything else:
 * another message, place or size, a path that is too long or too short, bytes that are not a key.
 */
export async function verifyMessage(
  publicKey: Uint8Array,
  signed: SignedBase,
  { verify = verifyEd25519, hash }: Verifying = {},
): Promise<boolean> {
  if (hash !== undefined) {
    const made = signedBytesWith(hash, signed)
    return made !== null && verify(publicKey, made.signature, made.bytes)
  }
  const made = await signedBytes(signed)
  return made !== null && verify(publicKey, made.signature, made.bytes)
}

/** The bytes that the key has signed, if the signature value is right, and its 64 bytes. */
export interface SignedBytes {
  readonly signature: Uint8Array
  readonly bytes: Uint8Array
}

/**
 * Returns what the key has to have signed for the message: its base, or the root to which its path
 * leads. Null if it leads to none.
 */
export function signedBytesWith(
  hash: Hash,
  { alg, signature, base }: SignedBase,
): SignedBytes | null {
  if (alg === 'ed25519') return { signature, bytes: utf8(base) }
  const value = readBatchSignature(signature)
  if (value === null) return null
  const root = rootOfPathWith(hash, { ...value, leafHash: hashLeafWith(hash, utf8(base)) })
  return root === null ? null : signedRoot(value, root)
}

async function signedBytes({ alg, signature, base }: SignedBase): Promise<SignedBytes | null> {
  if (alg === 'ed25519') return { signature, bytes: utf8(base) }
  const value = readBatchSignature(signature)
  if (value === null) return null
  const root = await rootOfPath({ ...value, leafHash: await hashLeaf(utf8(base)) })
  return root === null ? null : signedRoot(value, root)
}

const signedRoot = ({ signature, size }: BatchSignature, root: Uint8Array): SignedBytes => ({
  signature,
  bytes: messageBatchInput(size, root),
})

interface BatchSignature {
  readonly signature: Uint8Array
  readonly size: number
  readonly index: number
  readonly path: readonly Uint8Array[]
}

function readBatchSignature(value: Uint8Array): BatchSignature | null {
  if (!batchSignatureBytes.has(value.length)) return null
  const [size = 0, index = 0] = value.subarray(64, headBytes)
  if (size < 2 || size > messageBatchMax || index >= size) return null
  const path: Uint8Array[] = []
  for (let at = headBytes; at < value.length; at += 32) path.push(value.subarray(at, at + 32))
  return { signature: value.subarray(0, 64), size, index, path }
}
