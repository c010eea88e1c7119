import { createHash } from 'node:crypto'
import { verifyConsistencyWith, verifyInclusionWith } from '@countersign/protocol'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { leafHash, nodeHash } from './hash.ts'
import { LedgerDamage } from './store.ts'
import { emptyRoot } from './tile-nodes.ts'
import { levelWidth, tileWidth } from './tiles.ts'
import { type ReadTile, Tree } from './tree.ts'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()
const leaf = (index: number) => leafHash(Buffer.from(`entry ${index}`))

/** RFC 6962, section 2.1, word for word. */
function rootByDefinition(leaves: readonly Buffer[]): Buffer {
  const [only] = leaves
  if (only === undefined) return createHash('sha256').digest()
  if (leaves.length === 1) return only
  let k = 1
  while (k * 2 < leaves.length) k *= 2
  return nodeHash(rootByDefinition(leaves.slice(0, k)), rootByDefinition(leaves.slice(k)))
}

/** A tree with the files that a publisher would have written for `size` leaves. */
function grow(size: number) {
  const files = new Map<string, Buffer>()
  const readTile: ReadTile = async (level, tile, width) => {
    const bytes = files.get(`${level}/${tile}/${width}`)
    if (bytes === undefined) throw new LedgerDamage('missing')
    return bytes
  }
  const tree = new Tree(readTile)
  for (let i = 0; i < size; i++) tree.append(leaf(i))
  for (let level = 0; levelWidth(level, size) > 0; level++) {
    const hashes = levelWidth(level, size)
    for (let first = 0; first < hashes; first += tileWidth) {
      const width = Math.min(tileWidth, hashes - first)
      const tile = first / tileWidth
      files.set(`${level}/${tile}/${width}`, Buffer.from(tree.unpublishedTile(level, tile, width)))
    }
  }
  return { tree, files, readTile }
}

test('the root is the one that RFC 6962 defines, at every size', () => {
  const tree = new Tree(() => Promise.reject(new Error('nothing to read')))
  const leaves: Buffer[] = []
  expect(tree.root().toString('base64')).toBe('47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=')
  for (let i = 0; i < 600; i++) {
    tree.append(leaf(i))
    leaves.push(leaf(i))
    if (i < 40 || i % 61 === 0 || i > 590) expect(tree.root()).toEqual(rootByDefinition(leaves))
  }
})

test('every proof verifies, at the newest size and at older ones, and proves no other leaf', async () => {
  const { tree } = grow(1500)
  const roots = new Map<number, Buffer>()
  const again = new Tree(() => Promise.reject(new Error('nothing to read')))
  for (let i = 0; i < 1500; i++) {
    again.append(leaf(i))
    roots.set(i + 1, Buffer.from(again.root()))
  }
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 1500 }), fc.nat(1499), async (size, at) => {
      const index = at % size
      const path = await tree.inclusionPath(index, size)
      const root = roots.get(size) ?? Buffer.alloc(0)
      const proof = { leafHash: leaf(index), index, size, root, path }
      expect(verifyInclusionWith(sha256, proof)).toBe(true)
      expect(verifyInclusionWith(sha256, { ...proof, leafHash: leaf(index + 1) })).toBe(false)
    }),
  )
})

test('a restored tree proves and grows like the one that wrote the tiles', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 1100 }), fc.nat(30), async (size, more) => {
      const { tree, readTile } = grow(size)
      const restored = await Tree.restore(size, readTile)
      expect(restored.root()).toEqual(tree.root())
      for (let i = 0; i < more; i++) {
        tree.append(leaf(size + i))
        restored.append(leaf(size + i))
      }
      expect(restored.root()).toEqual(tree.root())
      const index = Math.floor(size / 3)
      const path = await restored.inclusionPath(index, size + more)
      expect(path).toEqual(await tree.inclusionPath(index, size + more))
    }),
    { numRuns: 25 },
  )
})

test('three levels of tiles work, with every tile read from its file', async () => {
  const size = 66_000
  const { tree, readTile } = grow(size)
  const restored = await Tree.restore(size, readTile)
  const root = restored.root()
  expect(root).toEqual(tree.root())
  for (const index of [0, 255, 256, 40_000, 65_535, 65_536, 65_999]) {
    const path = await restored.inclusionPath(index, size)
    const proof = { leafHash: leaf(index), index, size, root, path }
    expect(verifyInclusionWith(sha256, proof)).toBe(true)
  }
})

test('a tile that was changed on disk is not built into a proof', async () => {
  const { files, readTile } = grow(700)
  const restored = await Tree.restore(700, readTile)
  const tile = files.get('0/1/256') ?? Buffer.alloc(0)
  tile[100] = (tile[100] ?? 0) ^ 1
  await expect(restored.inclusionPath(300, 700)).rejects.toThrow(LedgerDamage)
  await expect(restored.inclusionPath(10, 700)).resolves.toHaveLength(10)
})

/** Every root up to `size`; index 0 is the empty tree. */
function rootsUpTo(size: number): readonly Buffer[] {
  const tree = new Tree(() => Promise.reject(new Error('nothing to read')))
  const roots = [Buffer.from(tree.root())]
  for (let i = 0; i < size; i++) {
    tree.append(leaf(i))
    roots.push(Buffer.from(tree.root()))
  }
  return roots
}

function* flips(bytes: Uint8Array): Generator<Uint8Array> {
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = Uint8Array.from(bytes)
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    yield changed
  }
}

test('two sizes of one tree are consistent, whichever sizes up to 300 they are', async () => {
  const { tree } = grow(300)
  const roots = rootsUpTo(300)
  for (let newSize = 0; newSize <= 300; newSize++) {
    for (let oldSize = 0; oldSize <= newSize; oldSize++) {
      const path = await tree.consistencyPath(oldSize, newSize)
      const oldRoot = roots[oldSize] ?? emptyRoot
      const newRoot = roots[newSize] ?? emptyRoot
      const proof = { oldSize, oldRoot, newSize, newRoot, path }
      if (!verifyConsistencyWith(sha256, proof)) expect.fail(`${oldSize} in ${newSize}`)
    }
  }
  await expect(tree.consistencyPath(1, 301)).rejects.toThrow(RangeError)
  await expect(tree.consistencyPath(2, 1)).rejects.toThrow(RangeError)
})

test('two sizes of a restored tree are consistent, and no bit of the proof is free', async () => {
  const size = 100_000
  const { tree, readTile } = grow(size)
  const restored = await Tree.restore(size, readTile)
  const roots = rootsUpTo(size)
  const sizes = fc.tuple(fc.integer({ min: 1, max: size }), fc.integer({ min: 1, max: size }))
  await fc.assert(
    fc.asyncProperty(sizes, fc.nat(), async ([one, other], at) => {
      const [oldSize, newSize] = [Math.min(one, other), Math.max(one, other)]
      const path = await restored.consistencyPath(oldSize, newSize)
      expect(path).toEqual(await tree.consistencyPath(oldSize, newSize))
      const oldRoot = roots[oldSize] ?? emptyRoot
      const newRoot = roots[newSize] ?? emptyRoot
      const proof = { oldSize, oldRoot, newSize, newRoot, path }
      expect(verifyConsistencyWith(sha256, proof)).toBe(true)
      const hash = at % (path.length + 1)
      for (const changed of flips(path[hash] ?? oldRoot)) {
        const wrong =
          hash === path.length
            ? { ...proof, oldRoot: changed }
            : { ...proof, path: path.with(hash, changed) }
        expect(verifyConsistencyWith(sha256, wrong)).toBe(false)
      }
    }),
    { numRuns: 20 },
  )
})

test('a tile that another reader pushes out is still there for the one that has found it', async () => {
  const { tree } = grow(200 * tileWidth)
  tree.release(200 * tileWidth)
  const read = async (tile: number) => {
    const index = tile * tileWidth + (tile % 7)
    expect(await tree.leafHash(index)).toEqual(leaf(index))
  }
  // Loads that end any number of steps after the others have found their tile, the oldest included.
  for (let steps = 0; steps < 40; steps++) {
    for (let tile = 136; tile < 200; tile++) await read(tile)
    const loading = read(steps)
    for (let step = 0; step < steps; step++) await Promise.resolve()
    await Promise.all([loading, read(136)])
  }
})
