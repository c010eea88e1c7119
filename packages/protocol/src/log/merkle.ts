import { concat, equalBytes, parseBase64, toBase64 } from '../encoding/bytes.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import { type Hash, sha256 } from '../signatures/web-crypto.ts'

/** That the leaf with this hash stands at `index` of the tree with `size` leaves and this root. */
export interface InclusionProof {
  readonly leafHash: Uint8Array
  readonly index: number
  readonly size: number
  readonly root: Uint8Array
  /** Sibling hashes from the leaf to the root. */
  readonly path: readonly Uint8Array[]
}

/** That the tree with `newSize` leaves begins with the leaves of the tree with `oldSize`. */
export interface ConsistencyProof {
  readonly oldSize: number
  readonly oldRoot: Uint8Array
  readonly newSize: number
  readonly newRoot: Uint8Array
  readonly path: readonly Uint8Array[]
}

/** A tree of 2^53 leaves has no longer path; C2SP allows 63. */
export const proofHashesMax = 63

const hashBytes = 32
const leafPrefix = Uint8Array.of(0)
const nodePrefix = Uint8Array.of(1)

/**
 * Returns the hash input of the tree for a leaf and for a node (RFC 6962, section 2.1): one is
 * never mistaken for the other.
 */
export function leafInput(entry: Uint8Array): Uint8Array {
  return concat(leafPrefix, entry)
}

export function nodeInput(left: Uint8Array, right: Uint8Array): Uint8Array {
  return concat(nodePrefix, left, right)
}

export function hashLeaf(entry: Uint8Array): Promise<Uint8Array> {
  return sha256(leafInput(entry))
}

export function hashLeafWith(hash: Hash, entry: Uint8Array): Uint8Array {
  return hash(leafInput(entry))
}

export function hashNodeWith(hash: Hash, left: Uint8Array, right: Uint8Array): Uint8Array {
  return hash(nodeInput(left, right))
}

export function verifyInclusion(proof: InclusionProof): Promise<boolean> {
  return runAsync(inclusion(proof))
}

export function verifyInclusionWith(hash: Hash, proof: InclusionProof): boolean {
  return run(inclusion(proof), hash)
}

export function verifyConsistency(proof: ConsistencyProof): Promise<boolean> {
  return runAsync(consistency(proof))
}

export function verifyConsistencyWith(hash: Hash, proof: ConsistencyProof): boolean {
  return run(consistency(proof), hash)
}

/** RFC 6962 root over leaves of these hashes, of which there is at least one (section 2.1). */
export function treeRootWith(hash: Hash, leafHashes: readonly Uint8Array[]): Uint8Array {
  const [first] = leafHashes
  if (first === undefined) throw new RangeError('an empty tree has no leaf')
  if (leafHashes.length === 1) return first
  const middle = leftSize(leafHashes.length)
  return hashNodeWith(
    hash,
    treeRootWith(hash, leafHashes.slice(0, middle)),
    treeRootWith(hash, leafHashes.slice(middle)),
  )
}

/** Sibling hashes of the leaf at `index`, from the leaf to that root (section 2.1.1). */
export function treePathWith(
  hash: Hash,
  leafHashes: readonly Uint8Array[],
  index: number,
): readonly Uint8Array[] {
  if (leafHashes.length <= 1) return []
  const middle = leftSize(leafHashes.length)
  const [left, right] = [leafHashes.slice(0, middle), leafHashes.slice(middle)]
  return index < middle
    ? [...treePathWith(hash, left, index), treeRootWith(hash, right)]
    : [...treePathWith(hash, right, index - middle), treeRootWith(hash, left)]
}

/** The largest power of two below `size`. */
function leftSize(size: number): number {
  let left = 1
  while (left * 2 < size) left *= 2
  return left
}

/** The place of a leaf and the path from it, without the root that it leads to. */
export type LeafPath = Omit<InclusionProof, 'root'>

/** The root to which the path leads; null if a tree of this size has no such path. */
export function rootOfPath(place: LeafPath): Promise<Uint8Array | null> {
  return runAsync(climb(place))
}

export function rootOfPathWith(hash: Hash, place: LeafPath): Uint8Array | null {
  return run(climb(place), hash)
}

/** A computation written once: it yields what to hash and is handed the hash. */
type Hashing<Result> = Generator<Uint8Array, Result, Uint8Array>
type Verification = Hashing<boolean>

function run<Result>(verification: Hashing<Result>, hash: Hash): Result {
  let step = verification.next()
  while (step.done !== true) step = verification.next(hash(step.value))
  return step.value
}

async function runAsync<Result>(verification: Hashing<Result>): Promise<Result> {
  let step = verification.next()
  while (step.done !== true) step = verification.next(await sha256(step.value))
  return step.value
}

function* inclusion(proof: InclusionProof): Verification {
  const root = yield* climb(proof)
  return root !== null && equalBytes(root, proof.root)
}

/** RFC 9162, section 2.1.3.2. */
function* climb(place: LeafPath): Hashing<Uint8Array | null> {
  if (!isSize(place.size) || !isSize(place.index) || place.index >= place.size) return null
  if (!areHashes([place.leafHash, ...place.path])) return null
  let index = place.index
  let last = place.size - 1
  let hash = place.leafHash
  for (const sibling of place.path) {
    if (last === 0) return null
    if (isOdd(index) || index === last) {
      hash = yield nodeInput(sibling, hash)
      while (!isOdd(index) && index !== 0) {
        index = half(index)
        last = half(last)
      }
    } else {
      hash = yield nodeInput(hash, sibling)
    }
    index = half(index)
    last = half(last)
  }
  return last === 0 ? hash : null
}

/**
 * RFC 9162, section 2.1.4.2; an empty old tree is consistent with every other, by an empty path.
 */
function* consistency(proof: ConsistencyProof): Verification {
  const { oldSize, newSize, oldRoot, newRoot } = proof
  if (!isSize(oldSize) || !isSize(newSize) || oldSize > newSize) return false
  if (!areHashes([oldRoot, newRoot, ...proof.path])) return false
  if (oldSize === 0) return proof.path.length === 0 && (yield* isEmptyRoot(oldRoot))
  if (oldSize === newSize) return proof.path.length === 0 && equalBytes(oldRoot, newRoot)
  // A complete old tree is itself the first node of the path, and is left out of it.
  const path = isPowerOfTwo(oldSize) ? [oldRoot, ...proof.path] : proof.path
  const [first, ...siblings] = path
  if (first === undefined) return false
  let index = oldSize - 1
  let last = newSize - 1
  while (isOdd(index)) {
    index = half(index)
    last = half(last)
  }
  let oldHash = first
  let newHash = first
  for (const sibling of siblings) {
    if (last === 0) return false
    if (isOdd(index) || index === last) {
      oldHash = yield nodeInput(sibling, oldHash)
      newHash = yield nodeInput(sibling, newHash)
      while (!isOdd(index) && index !== 0) {
        index = half(index)
        last = half(last)
      }
    } else {
      newHash = yield nodeInput(newHash, sibling)
    }
    index = half(index)
    last = half(last)
  }
  return last === 0 && equalBytes(oldHash, oldRoot) && equalBytes(newHash, newRoot)
}

function* isEmptyRoot(root: Uint8Array): Verification {
  return equalBytes(yield new Uint8Array(0), root)
}

/** A `.tlog-proof` file (C2SP tlog-proof, version 1) without extra data. */
export interface TlogProof {
  readonly index: number
  readonly path: readonly Uint8Array[]
  /** The signed note, verbatim. */
  readonly checkpoint: string
}

const tlogProofHeader = 'c2sp.org/tlog-proof@v1'

export function formatTlogProof(proof: TlogProof): string {
  const path = proof.path.map((hash) => `${toBase64(hash)}\n`).join('')
  return `${tlogProofHeader}\nindex ${proof.index}\n${path}\n${proof.checkpoint}`
}

/** Throws a MalformedError on anything but the one form that `formatTlogProof` writes. */
export function parseTlogProof(text: string): TlogProof {
  const blank = text.indexOf('\n\n')
  if (blank < 0) throw new MalformedError('the proof has no checkpoint')
  const [header, indexLine, ...hashLines] = text.slice(0, blank).split('\n')
  if (header !== tlogProofHeader) throw new MalformedError('the proof has an unknown version')
  const index = /^index (0|[1-9][0-9]{0,15})$/.exec(indexLine ?? '')
  if (index === null || !isSize(Number(index[1]))) {
    throw new MalformedError('the index of the proof is malformed')
  }
  if (hashLines.length > proofHashesMax)
    throw new MalformedError('the path of the proof is too long')
  return {
    index: Number(index[1]),
    path: hashLines.map(parseHash),
    checkpoint: text.slice(blank + 2),
  }
}

function parseHash(line: string): Uint8Array {
  const hash = parseBase64(line)
  if (hash?.length !== hashBytes)
    throw new MalformedError('the path holds something else than hashes')
  return hash
}

// Bit operators would cut these numbers to 32 bits.
function half(value: number): number {
  return Math.floor(value / 2)
}

function isOdd(value: number): boolean {
  return value % 2 === 1
}

function isPowerOfTwo(value: number): boolean {
  let rest = value
  while (rest > 1 && !isOdd(rest)) rest = half(rest)
  return rest === 1
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

function areHashes(hashes: readonly Uint8Array[]): boolean {
  return hashes.length <= proofHashesMax + 2 && hashes.every((hash) => hash.length === hashBytes)
}
