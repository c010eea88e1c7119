import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import vectors from '../../vectors/merkle.json' with { type: 'json' }
import { concat, toHex, utf8 } from '../encoding/bytes.ts'
import { hashLeafWith, hashNodeWith, verifyConsistencyWith, verifyInclusionWith } from './merkle.ts'
import { formatTileNumber, levelWidth, subtreesOf, tileHeight, tileWidth } from './tile-layout.ts'
import {
  proofTilesMax,
  proveConsistency,
  proveInclusion,
  type ReadLogTile,
  TileError,
} from './tile-prover.ts'

const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest())
const emptyHash = sha256(new Uint8Array(0))

/** A whole tree, held as all of its rows: slow to extend, and easy to check. */
class Rows {
  readonly #rows: Uint8Array[][]

  constructor(leaves: readonly Uint8Array[]) {
    let row = [...leaves]
    this.#rows = [row]
    while (row.length > 1) {
      const above: Uint8Array[] = []
      for (let at = 0; at + 1 < row.length; at += 2) {
        above.push(hashNodeWith(sha256, row[at] ?? emptyHash, row[at + 1] ?? emptyHash))
      }
      this.#rows.push(above)
      row = above
    }
  }

  checkpoint(size: number) {
    const parts = subtreesOf([0, size]).map(({ level, index }) => this.#rows[level]?.[index])
    const root = parts.reduceRight<Uint8Array | null>(
      (right, left) =>
        right === null ? (left ?? null) : hashNodeWith(sha256, left ?? emptyHash, right),
      null,
    )
    return { origin: 'log.test', size, root: root ?? emptyHash }
  }

  /** The tiles that a log of `size` leaves serves, by path. */
  tiles(size: number): Map<string, Uint8Array> {
    const tiles = new Map<string, Uint8Array>()
    for (let level = 0; levelWidth(level, size) > 0; level++) {
      const row = (this.#rows[level * tileHeight] ?? []).slice(0, levelWidth(level, size))
      for (let first = 0; first < row.length; first += tileWidth) {
        const hashes = row.slice(first, first + tileWidth)
        const path = `tile/${level}/${formatTileNumber(first / tileWidth)}`
        const partial = hashes.length === tileWidth ? '' : `.p/${hashes.length}`
        tiles.set(`${path}${partial}`, concat(...hashes))
      }
    }
    return tiles
  }
}

function readerOf(tiles: ReadonlyMap<string, Uint8Array>, read: string[] = []): ReadLogTile {
  return async (path, bytes) => {
    read.push(path)
    const tile = tiles.get(path)
    if (tile === undefined) throw new Error(`${path} is missing`)
    if (tile.length > bytes) throw new Error(`${path} is longer than ${bytes} bytes`)
    return tile
  }
}

const leafOf = (index: number) => hashLeafWith(sha256, utf8(`entry ${index}`))
const sizeMax = 70_000
const tree = new Rows(Array.from({ length: sizeMax }, (_, i) => leafOf(i)))

const pairs = fc
  .tuple(fc.integer({ min: 0, max: sizeMax }), fc.integer({ min: 1, max: sizeMax }))
  .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const)

describe('a consistency proof from tiles', () => {
  test('verifies, whichever two sizes it is of, and reads each of a few tiles once', async () => {
    const edges = [0, 1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 65_792, sizeMax]
    const cases = edges.flatMap((a) => edges.filter((b) => a <= b).map((b) => [a, b] as const))
    cases.push(...fc.sample(pairs, { numRuns: 40, seed: 11 }))
    for (const [oldSize, newSize] of cases) {
      const read: string[] = []
      const reader = readerOf(tree.tiles(newSize), read)
      const [older, newer] = [tree.checkpoint(oldSize), tree.checkpoint(newSize)]
      const proof = await proveConsistency(older, newer, reader)
      expect(verifyConsistencyWith(sha256, proof), `${oldSize} in ${newSize}`).toBe(true)
      expect(read.length).toBeLessThanOrEqual(proofTilesMax)
      expect(new Set(read).size).toBe(read.length)
    }
  })

  test('does not verify for another history, of the same size or a later one', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 700 }), fc.nat(299), async (oldSize, more) => {
        const newSize = oldSize + more
        const forked = new Rows(
          Array.from({ length: newSize }, (_, i) => leafOf(i === oldSize - 1 ? sizeMax : i)),
        )
        const newer = forked.checkpoint(newSize)
        const proof = await proveConsistency(
          tree.checkpoint(oldSize),
          newer,
          readerOf(forked.tiles(newSize)),
        )
        expect(verifyConsistencyWith(sha256, proof)).toBe(false)
      }),
      { numRuns: 20 },
    )
  })

  test('is not made from a tile that was changed, cut, lengthened, missing or moved', async () => {
    const [older, newer] = [tree.checkpoint(40_000), tree.checkpoint(66_000)]
    const read: string[] = []
    await proveConsistency(older, newer, readerOf(tree.tiles(66_000), read))
    expect(read).toContain('tile/0/156')
    for (const path of read) {
      const tiles = tree.tiles(66_000)
      const tile = tiles.get(path) ?? emptyHash
      const wrong = [
        tile.slice(0, -32),
        tile.slice(0, -1),
        concat(tile, emptyHash),
        new Uint8Array(0),
      ]
      for (const at of [0, tile.length >> 1, tile.length - 1]) {
        wrong.push(tile.map((byte, i) => (i === at ? byte ^ 1 : byte)))
      }
      for (const bytes of wrong) {
        const reader: ReadLogTile = async (asked, length) =>
          asked === path ? bytes : readerOf(tiles)(asked, length)
        await expect(proveConsistency(older, newer, reader), path).rejects.toThrow(TileError)
      }
      tiles.delete(path)
      await expect(proveConsistency(older, newer, readerOf(tiles))).rejects.toThrow('is missing')
    }
  })

  test('is made from tiles that their reader puts into one buffer', async () => {
    const rows = tree
    const tiles = rows.tiles(1_100)
    const shared = Buffer.alloc(8_192)
    const readTile: ReadLogTile = async (path) => {
      const tile = tiles.get(path) ?? emptyHash
      shared.set(tile)
      return shared.subarray(0, tile.length)
    }
    const [older, newer] = [rows.checkpoint(300), rows.checkpoint(1_100)]
    const proof = await proveConsistency(older, newer, readTile)
    expect(verifyConsistencyWith(sha256, proof)).toBe(true)
  })

  test('is of sizes that a number holds exactly, the older one first', async () => {
    const reader = readerOf(new Map())
    const at = (size: number) => ({ origin: 'log.test', size, root: emptyHash })
    for (const [a, b] of [
      [2, 1],
      [1, 2 ** 53],
      [-1, 1],
      [0.5, 1],
    ] as const) {
      await expect(proveConsistency(at(a), at(b), reader)).rejects.toThrow(RangeError)
    }
    // The largest size has tiles of seven levels, and the first of them is missing.
    await expect(proveConsistency(at(1), at(2 ** 53 - 1), reader)).rejects.toThrow(
      `tile/0/x035/x184/x372/x088/831.p/255 is missing`,
    )
  })
})

describe('an inclusion proof from tiles', () => {
  test('verifies at every kind of size', async () => {
    for (const size of [1, 2, 255, 256, 257, 65_536, 66_000]) {
      for (const index of new Set([0, size >> 1, size - 1])) {
        const proof = await proveInclusion(index, tree.checkpoint(size), readerOf(tree.tiles(size)))
        expect(proof.leafHash).toEqual(leafOf(index))
        expect(verifyInclusionWith(sha256, proof), `${index} of ${size}`).toBe(true)
      }
    }
  })

  test('is not made for a leaf beyond the end', async () => {
    for (const index of [3, -1, 0.5]) {
      const proof = proveInclusion(index, tree.checkpoint(3), readerOf(tree.tiles(3)))
      await expect(proof).rejects.toThrow(RangeError)
    }
  })
})

/** Of the same eight leaves, as the reference implementations of RFC 6962 test them. */
const knownPaths = [
  {
    sizes: [1, 8],
    path: [
      '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
    ],
  },
  {
    sizes: [6, 8],
    path: [
      '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ],
  },
  {
    sizes: [2, 5],
    path: [
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
    ],
  },
] as const

test('paths and roots are those of the reference leaves', async () => {
  const known = new Rows(vectors.leaves.map((entry) => hashLeafWith(sha256, fromHex(entry))))
  for (const { sizes, path } of knownPaths) {
    const [older, newer] = [known.checkpoint(sizes[0]), known.checkpoint(sizes[1])]
    expect(toHex(newer.root)).toBe(vectors.roots[sizes[1]])
    const proof = await proveConsistency(older, newer, readerOf(known.tiles(sizes[1])))
    expect(proof.path.map(toHex)).toEqual(path)
  }
})

function fromHex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
}
