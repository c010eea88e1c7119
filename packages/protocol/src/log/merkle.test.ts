import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import vectors from '../../vectors/merkle.json' with { type: 'json' }
import { toBase64, toHex } from '../encoding/bytes.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import {
  type ConsistencyProof,
  formatTlogProof,
  hashLeaf,
  hashLeafWith,
  hashNodeWith,
  type InclusionProof,
  parseTlogProof,
  verifyConsistency,
  verifyConsistencyWith,
  verifyInclusion,
  verifyInclusionWith,
} from './merkle.ts'

const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest())

/** The definitions of RFC 6962, section 2.1, word for word: slow, recursive, and easy to check. */
function split(size: number): number {
  let half = 1
  while (half * 2 < size) half *= 2
  return half
}

function rootOf(leaves: readonly Uint8Array[]): Uint8Array {
  const [only] = leaves
  if (only === undefined) return sha256(new Uint8Array(0))
  if (leaves.length === 1) return only
  const at = split(leaves.length)
  return hashNodeWith(sha256, rootOf(leaves.slice(0, at)), rootOf(leaves.slice(at)))
}

function inclusionPath(index: number, leaves: readonly Uint8Array[]): Uint8Array[] {
  if (leaves.length <= 1) return []
  const at = split(leaves.length)
  const [left, right] = [leaves.slice(0, at), leaves.slice(at)]
  return index < at
    ? [...inclusionPath(index, left), rootOf(right)]
    : [...inclusionPath(index - at, right), rootOf(left)]
}

function consistencyPath(size: number, leaves: readonly Uint8Array[], whole = true): Uint8Array[] {
  if (size === leaves.length) return whole ? [] : [rootOf(leaves)]
  const at = split(leaves.length)
  const [left, right] = [leaves.slice(0, at), leaves.slice(at)]
  return size <= at
    ? [...consistencyPath(size, left, whole), rootOf(right)]
    : [...consistencyPath(size - at, right, false), rootOf(left)]
}

const leaves = Array.from({ length: 300 }, (_, i) => hashLeafWith(sha256, Uint8Array.of(i, i >> 8)))

function inclusionOf(index: number, size: number): InclusionProof {
  const tree = leaves.slice(0, size)
  const leafHash = leaves[index] ?? new Uint8Array(0)
  return { leafHash, index, size, root: rootOf(tree), path: inclusionPath(index, tree) }
}

function consistencyOf(oldSize: number, newSize: number): ConsistencyProof {
  const tree = leaves.slice(0, newSize)
  const path = oldSize === 0 ? [] : consistencyPath(oldSize, tree)
  return {
    oldSize,
    newSize,
    path,
    oldRoot: rootOf(tree.slice(0, oldSize)),
    newRoot: rootOf(tree),
  }
}

function* flips(bytes: Uint8Array): Generator<Uint8Array> {
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = Uint8Array.from(bytes)
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    yield changed
  }
}

const sizes = fc
  .integer({ min: 1, max: leaves.length })
  .chain((size) => fc.record({ size: fc.constant(size), index: fc.nat({ max: size - 1 }) }))

describe('the reference tree', () => {
  test('has the published roots', () => {
    const given = vectors.leaves.map((hex) => {
      const bytes = Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
      return hashLeafWith(sha256, bytes)
    })
    for (const [size, root] of vectors.roots.entries()) {
      expect(toHex(rootOf(given.slice(0, size)))).toBe(root)
    }
  })
})

describe('an inclusion proof', () => {
  test('verifies for every leaf of every small tree, and for no other index or size', () => {
    for (let size = 1; size <= 18; size++) {
      for (let index = 0; index < size; index++) {
        const proof = inclusionOf(index, size)
        expect(verifyInclusionWith(sha256, proof)).toBe(true)
        for (let other = 0; other <= size; other++) {
          if (other !== index) {
            expect(verifyInclusionWith(sha256, { ...proof, index: other })).toBe(false)
          }
        }
      }
    }
  })

  test('verifies at random, and WebCrypto agrees', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, async ({ size, index }) => {
        const proof = inclusionOf(index, size)
        expect(verifyInclusionWith(sha256, proof)).toBe(true)
        expect(await verifyInclusion(proof)).toBe(true)
      }),
      { numRuns: 30 },
    )
  })

  test('fails with any bit changed, a hash dropped, added or swapped', () => {
    fc.assert(
      fc.property(sizes, ({ size, index }) => {
        const proof = inclusionOf(index, size)
        const { path } = proof
        const verify = (change: Partial<InclusionProof>) =>
          verifyInclusionWith(sha256, { ...proof, ...change })
        for (const root of flips(proof.root)) expect(verify({ root })).toBe(false)
        for (const leafHash of flips(proof.leafHash)) expect(verify({ leafHash })).toBe(false)
        for (const [at, sibling] of path.entries()) {
          for (const hash of flips(sibling))
            expect(verify({ path: path.with(at, hash) })).toBe(false)
          expect(verify({ path: path.toSpliced(at, 1) })).toBe(false)
          expect(verify({ path: path.toSpliced(at, 0, sibling) })).toBe(false)
        }
        expect(verify({ path: [...path, proof.root] })).toBe(false)
      }),
      { numRuns: 4 },
    )
  })

  test('is refused with a size or index that is not a count, or hashes of another length', () => {
    const proof = inclusionOf(3, 7)
    for (const change of [{ size: 7.5 }, { index: -1 }, { index: 7 }, { size: 2 ** 53 }]) {
      expect(verifyInclusionWith(sha256, { ...proof, ...change })).toBe(false)
    }
    expect(verifyInclusionWith(sha256, { ...proof, root: proof.root.slice(1) })).toBe(false)
    const endless = Array.from({ length: 64 }, () => proof.root)
    expect(verifyInclusionWith(sha256, { ...proof, path: endless })).toBe(false)
  })

  test('is checked beyond 32 bits', () => {
    const size = 2 ** 40
    const path = Array.from({ length: 40 }, (_, i) => sha256(Uint8Array.of(i)))
    const leafHash = sha256(new Uint8Array(1))
    const root = path.reduce<Uint8Array>(
      (hash, sibling) => hashNodeWith(sha256, sibling, hash),
      leafHash,
    )
    const proof = { leafHash, index: size - 1, size, root, path }
    expect(verifyInclusionWith(sha256, proof)).toBe(true)
    expect(verifyInclusionWith(sha256, { ...proof, index: 2 ** 32 - 1 })).toBe(false)
  })
})

describe('a consistency proof', () => {
  test('verifies between all small trees, and not between others', () => {
    for (let newSize = 0; newSize <= 17; newSize++) {
      for (let oldSize = 0; oldSize <= newSize; oldSize++) {
        const proof = consistencyOf(oldSize, newSize)
        expect(verifyConsistencyWith(sha256, proof), `${oldSize} to ${newSize}`).toBe(true)
        const grown = { ...proof, oldSize: oldSize + 1 }
        expect(verifyConsistencyWith(sha256, grown)).toBe(false)
      }
    }
  })

  test('verifies at random, and WebCrypto agrees', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, async ({ size, index }) => {
        const proof = consistencyOf(index, size)
        expect(verifyConsistencyWith(sha256, proof)).toBe(true)
        expect(await verifyConsistency(proof)).toBe(true)
      }),
      { numRuns: 30 },
    )
  })

  test('fails with any bit changed, or a hash dropped or added', () => {
    fc.assert(
      fc.property(sizes, ({ size, index }) => {
        const proof = consistencyOf(index + 1, size)
        const { path } = proof
        const verify = (change: Partial<ConsistencyProof>) =>
          verifyConsistencyWith(sha256, { ...proof, ...change })
        for (const oldRoot of flips(proof.oldRoot)) expect(verify({ oldRoot })).toBe(false)
        for (const newRoot of flips(proof.newRoot)) expect(verify({ newRoot })).toBe(false)
        for (const [at, sibling] of path.entries()) {
          for (const hash of flips(sibling))
            expect(verify({ path: path.with(at, hash) })).toBe(false)
          expect(verify({ path: path.toSpliced(at, 1) })).toBe(false)
        }
        expect(verify({ path: [...path, proof.newRoot] })).toBe(false)
      }),
      { numRuns: 4 },
    )
  })

  test('does not let a log shrink', () => {
    const { oldRoot, newRoot, path } = consistencyOf(3, 7)
    const shrunk = { oldSize: 7, newSize: 3, oldRoot: newRoot, newRoot: oldRoot, path }
    expect(verifyConsistencyWith(sha256, shrunk)).toBe(false)
  })
})

describe('a tlog-proof', () => {
  const checkpoint = `log.test\n7\n${toBase64(rootOf(leaves.slice(0, 7)))}\n\n— log.test AAAAAAAA\n`

  test('parses to what was formatted', () => {
    fc.assert(
      fc.property(sizes, ({ size, index }) => {
        const proof = { index, path: inclusionPath(index, leaves.slice(0, size)), checkpoint }
        expect(parseTlogProof(formatTlogProof(proof))).toEqual(proof)
      }),
      { numRuns: 20 },
    )
  })

  test('is refused in every other form', () => {
    const hash = toBase64(new Uint8Array(32))
    const proof = (head: string) => `${head}\n${checkpoint}`
    const bad = [
      '',
      proof('c2sp.org/tlog-proof@v1\n'),
      proof('c2sp.org/tlog-proof@v2\nindex 0\n'),
      proof('c2sp.org/tlog-proof@v1\nindex 00\n'),
      proof('c2sp.org/tlog-proof@v1\nindex -1\n'),
      proof('c2sp.org/tlog-proof@v1\nindex 9007199254740992\n'),
      proof('c2sp.org/tlog-proof@v1\nextra AAAA\nindex 0\n'),
      proof('c2sp.org/tlog-proof@v1\nindex 0\r\n'),
      proof(`c2sp.org/tlog-proof@v1\nindex 0\n${hash} \n`),
      proof(`c2sp.org/tlog-proof@v1\nindex 0\n${hash.slice(0, -1)}\n`),
      proof(`c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n`),
      proof(`c2sp.org/tlog-proof@v1\nindex 0\n${`${hash}\n`.repeat(64)}`),
      'c2sp.org/tlog-proof@v1\nindex 0\n',
    ]
    for (const text of bad) expect(() => parseTlogProof(text), text).toThrow(MalformedError)
  })

  test('hashes leaves the same way in WebCrypto', async () => {
    const entry = Uint8Array.of(1, 2, 3)
    expect(await hashLeaf(entry)).toEqual(hashLeafWith(sha256, entry))
  })
})
