import { setTimeout as sleep } from 'node:timers/promises'
import type { ResourceStore } from './store.ts'
import { groupFileEntries } from './tile-groups.ts'
import { tileWidth } from './tiles.ts'

/** The files of pruned entries, and what could not be removed. */
export interface RemovedFiles {
  readonly files: number
  readonly bytes: number
  /** The first faults, and their number. */
  readonly faults: readonly string[]
  readonly failed: number
}

export interface PruneFilesParts {
  readonly resources: ResourceStore
  /** Entries below it are removed. */
  readonly minimum: number
  readonly segmentEntries: number
  readonly termSegmentEntries: number
  /** Milliseconds after each `filesPerTurn` files, so that no commit waits for a queue of them. */
  readonly pauseMs: number
  readonly isStopped: () => boolean
}

const filesPerTurn = 16
const faultsMax = 8
/** Numbers of tiles have three digits for each folder. */
const perFolder = 1_000

/**
 * Removes the bundles and details of the entries below `minimum`, oldest first, and what the
 * indexes have of them; never a hash tile. Files that a crash has left go too. A link is removed
 * and not followed; one in place of a whole folder stays, and is a fault. A fault leaves its file,
 * and the others go.
 */
export function removePruned(parts: PruneFilesParts): Promise<RemovedFiles> {
  return new Removal(parts).run()
}

class Removal {
  readonly #parts: PruneFilesParts
  readonly #faults: string[] = []
  #files = 0
  #bytes = 0
  #failed = 0

  constructor(parts: PruneFilesParts) {
    this.#parts = parts
  }

  async run(): Promise<RemovedFiles> {
    const { minimum, segmentEntries, termSegmentEntries } = this.#parts
    for (const folder of ['tile/entries', 'detail']) {
      if (await this.#isFolder(folder)) await this.#removeTiles(folder, 0)
    }
    await this.#removeNumbered('index', Math.floor(minimum / segmentEntries))
    await this.#removeNumbered('index/terms', Math.floor(minimum / termSegmentEntries))
    await this.#removeNumbered('index/groups', Math.floor(minimum / groupFileEntries))
    await this.#removeNumbered('pruned', minimum)
    const faults = this.#faults
    return { files: this.#files, bytes: this.#bytes, faults, failed: this.#failed }
  }

  /** `prefix` is the number that the folders above stand for. */
  async #removeTiles(folder: string, prefix: number): Promise<void> {
    const firstLeft = this.#parts.minimum / tileWidth
    for (const name of await this.#namesIn(folder)) {
      const [, isFolder, digits, isPartial] = /^(x?)([0-9]{3})(\.p)?$/.exec(name) ?? []
      if (digits === undefined) continue
      const number = prefix * perFolder + Number(digits)
      const path = `${folder}/${name}`
      if (isFolder === 'x') {
        if (number * perFolder < firstLeft) await this.#removeFolder(path, number)
      } else if (number < firstLeft) {
        if (isPartial === undefined) await this.#remove(path)
        else await this.#removePartials(path)
      }
    }
  }

  async #removeFolder(path: string, number: number): Promise<void> {
    if ((await this.#kindOf(path)) !== 'folder') return this.#remove(path)
    await this.#removeTiles(path, number)
    await this.#removeEmpty(path)
  }

  async #removePartials(path: string): Promise<void> {
    if ((await this.#kindOf(path)) !== 'folder') return this.#remove(path)
    for (const name of await this.#namesIn(path)) await this.#remove(`${path}/${name}`)
    await this.#removeEmpty(path)
  }

  async #removeEmpty(path: string): Promise<void> {
    if ((await this.#namesIn(path)).length === 0) await this.#remove(path)
  }

  async #removeNumbered(folder: string, firstLeft: number): Promise<void> {
    if (!(await this.#isFolder(folder))) return
    for (const name of await this.#namesIn(folder)) {
      if (/^(0|[1-9][0-9]*)$/.test(name) && Number(name) < firstLeft) {
        await this.#remove(`${folder}/${name}`)
      }
    }
  }

  async #namesIn(folder: string): Promise<readonly string[]> {
    if (this.#parts.isStopped()) return []
    return [...(await this.#parts.resources.list(folder))].sort()
  }

  /** A link in place of the folder, or of one above it, is a fault: its files belong to others. */
  async #isFolder(folder: string): Promise<boolean> {
    const names = folder.split('/')
    for (const depth of names.keys()) {
      const path = names.slice(0, depth + 1).join('/')
      const kind = await this.#kindOf(path)
      if (kind === 'folder') continue
      if (kind !== null) this.#fault(path, 'it is not a folder')
      return false
    }
    return true
  }

  #fault(path: string, cause: unknown): void {
    this.#failed += 1
    if (this.#faults.length < faultsMax) this.#faults.push(`${path}: ${String(cause)}`)
  }

  async #kindOf(path: string) {
    return (await this.#parts.resources.stat(path))?.kind ?? null
  }

  async #remove(path: string): Promise<void> {
    const { resources, isStopped, pauseMs } = this.#parts
    if (isStopped()) return
    try {
      const found = await resources.stat(path)
      await resources.remove([path])
      this.#files += 1
      if (found?.kind === 'file') this.#bytes += found.bytes
    } catch (cause) {
      this.#fault(path, cause)
    }
    if (pauseMs > 0 && this.#files % filesPerTurn === 0) await sleep(pauseMs)
  }
}
