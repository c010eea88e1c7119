import { setImmediate } from 'node:timers/promises'
import { createExchangeId } from '@countersign/protocol'
import { beforeAll, expect, test } from 'vitest'
import { DetailVault } from './details.ts'
import { EntryReader } from './entry-reader.ts'
import { leafHash } from './hash.ts'
import { LeafWriter } from './leaf-writer.ts'
import { PrunedPart } from './pruned-part.ts'
import type { LoggedEntry } from './record.ts'
import type { Resource, ResourceStore } from './store.ts'
import { GroupIndex, groupEntries, groupsPath } from './tile-groups.ts'
import { encodeBundle, encodeDetails, hashBytes, levelWidth, tilePath, tileWidth } from './tiles.ts'
import { Tree } from './tree.ts'
import { Window } from './window.ts'

class MemoryResources implements ResourceStore {
  readonly files = new Map<string, Uint8Array>()
  readonly wholes: string[] = []
  readonly parts: string[] = []

  async read(path: string) {
    this.wholes.push(path)
    return this.files.get(path) ?? null
  }

  async readPart(path: string, position: number, length: number) {
    this.parts.push(path)
    return this.files.get(path)?.subarray(position, position + length) ?? null
  }

  async write(resources: readonly Resource[]) {
    for (const { path, bytes } of resources) this.files.set(path, bytes)
  }

  async remove(paths: readonly string[]) {
    for (const path of paths) this.files.delete(path)
  }

  async stat(path: string) {
    const bytes = this.files.get(path)
    return bytes === undefined ? null : { kind: 'file' as const, bytes: bytes.length }
  }

  async list() {
    return []
  }
}

const size = 65 * tileWidth
const key = new Uint8Array(32).fill(7)
const random = (length: number) => Buffer.alloc(length, 5)
/** Its entries name no subject. */
const subjects = { nameOf: () => null, keyOf: () => null }
const vault = new DetailVault({ detailKey: key, origin: 'log.example', subjects }, random)
const entries: LoggedEntry[] = []
const published = new MemoryResources()

beforeAll(() => {
  const writer = new LeafWriter({ vault, random, detailBytesMax: 1_000 })
  const tree = new Tree(() => Promise.reject(new Error('nothing to read')))
  for (let at = 0; at < size; at++) {
    const exchange = createExchangeId('a', 1_800_000_000_000 + at, random(10))
    const facts = { caller: 'x'.repeat(at % 97) }
    entries.push(writer.write({ kind: 'refusal', exchange, at, facts }, at))
  }
  for (const { leaf } of entries) tree.append(leafHash(leaf))
  for (let level = 0; levelWidth(level, size) > 0; level++) {
    for (let first = 0; first < levelWidth(level, size); first += tileWidth) {
      const width = Math.min(tileWidth, levelWidth(level, size) - first)
      const bytes = Buffer.from(tree.unpublishedTile(level, first / tileWidth, width))
      published.files.set(tilePath(level, first / tileWidth, width), bytes)
    }
  }
  for (let tile = 0; tile * tileWidth < size; tile++) {
    const some = entries.slice(tile * tileWidth, (tile + 1) * tileWidth)
    const bundle = encodeBundle(some.map(({ leaf }) => leaf))
    const details = encodeDetails(some.map(({ detail }) => detail))
    published.files.set(tilePath('entries', tile), bundle)
    published.files.set(tilePath('detail', tile), details)
  }
})

/** A log that was opened anew, with copies of all files. */
async function open() {
  const resources = new MemoryResources()
  for (const [path, bytes] of published.files) resources.files.set(path, Buffer.from(bytes))
  const groups = new GroupIndex({ resources, log: () => undefined })
  const readTile = async (level: number, tile: number, width: number) =>
    (await resources.read(tilePath(level, tile, width))) ?? new Uint8Array(0)
  const tree = await Tree.restore(size, readTile)
  tree.readGroups({
    find: (tile) => groups.find(tile),
    read: (tile, group) =>
      resources.readPart(tilePath(0, tile), group * groupEntries * hashBytes, 512),
  })
  const window = new Window(size, 0)
  const reader = new EntryReader({
    pruned: new PrunedPart(),
    resources,
    window,
    tree,
    vault,
    groups,
    subjects,
  })
  return { resources, groups, tree, reader }
}

let built: Uint8Array | undefined

async function openWithGroups() {
  built ??= await build()
  const log = await open()
  log.resources.files.set(groupsPath(0), Buffer.from(built))
  return log
}

async function build(): Promise<Uint8Array> {
  const { reader, resources } = await open()
  await reader.readFew([0])
  for (let turn = 0; turn < 10_000 && !resources.files.has(groupsPath(0)); turn++) {
    await setImmediate()
  }
  return resources.files.get(groupsPath(0)) ?? new Uint8Array(0)
}

const sampled = [0, 15, 16, 255, 256, 4_000, 16_383]

test('old entries and their proofs are the same from parts of tiles and from whole ones', async () => {
  const plain = await open()
  const parts = await openWithGroups()
  parts.resources.wholes.length = 0
  for (const index of sampled) {
    expect(await parts.reader.readFew([index])).toEqual([await plain.reader.read(index)])
    const path = await parts.tree.inclusionPath(index, size)
    expect(path).toEqual(await plain.tree.inclusionPath(index, size))
  }
  const wholes = parts.resources.wholes.filter((path) => /tile\/(0|entries)/.test(path))
  expect(wholes).toEqual([])
})

test('the newest tiles have no groups before all tiles of their file are full', async () => {
  const { reader, groups, resources } = await open()
  const [entry] = await reader.readFew([size - 1])
  expect(entry?.encoded).toEqual(entries[size - 1]?.leaf)
  await groups.stop()
  expect(resources.files.has(groupsPath(1))).toBe(false)
})

test('a damaged index of groups is left to the whole tile, bit by bit', async () => {
  const plain = await open()
  const path = await plain.tree.inclusionPath(20, size)
  for (let at = 0; at < 16 * 36; at += 29) {
    const { reader, tree, resources } = await openWithGroups()
    const file = resources.files.get(groupsPath(0))
    if (file === undefined) throw new Error('no groups')
    file[at] = (file[at] ?? 0) ^ 1
    const [entry] = await reader.readFew([20])
    expect(entry?.encoded).toEqual(entries[20]?.leaf)
    expect(await tree.inclusionPath(20, size)).toEqual(path)
  }
})

test('a damaged tile or bundle is damage, with groups as without', async () => {
  for (const path of [tilePath(0, 0), tilePath('entries', 0), tilePath('detail', 0)]) {
    const { reader, resources } = await openWithGroups()
    const file = resources.files.get(path)
    if (file === undefined) throw new Error('no file')
    for (let at = 0; at < file.length; at += 3) file[at] = (file[at] ?? 0) ^ 1
    await expect(reader.readFew([20])).rejects.toThrow()
  }
})
