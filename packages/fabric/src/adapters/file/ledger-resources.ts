import type { Resource, ResourceStat, ResourceStore } from '../../ledger/store.ts'
import { type FileLayer, readWhole } from '../../lib/durable-file.ts'

/** Half of libuv's four threads: the write-ahead log must never queue behind tiles. */
const writesAtOnce = 2

/** 256 details of the largest size, and their table. */
const fileBytesMax = 160 * 1024 * 1024

/** Whole files below one directory, which a static file server may serve where they are public. */
export class FileResourceStore implements ResourceStore {
  readonly #files: FileLayer
  /** Reads parts. */
  readonly #parts: FileLayer
  readonly #root: string
  /** Directories known to be durable. */
  readonly #known = new Set<string>()

  constructor(files: FileLayer, root: string, parts = files) {
    this.#files = files
    this.#parts = parts
    this.#root = root
    this.#known.add(root)
  }

  async read(path: string): Promise<Uint8Array | null> {
    const file = await this.#files.open(this.#resolve(path), 'read')
    if (file === null) return null
    try {
      return await readWhole(file, path, fileBytesMax)
    } finally {
      await file.close()
    }
  }

  async readPart(path: string, position: number, length: number): Promise<Uint8Array | null> {
    const file = await this.#parts.open(this.#resolve(path), 'read')
    if (file === null) return null
    try {
      return await file.read(position, length)
    } finally {
      await file.close()
    }
  }

  /** Every file synced under a temporary name, then all renamed, then their directories synced. */
  async write(resources: readonly Resource[]): Promise<void> {
    for (const { path } of resources) await this.#ensure(directoryOf(this.#resolve(path)))
    const waiting = [...resources]
    const work = Array.from({ length: writesAtOnce }, async () => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        await this.#writeTemporary(next)
      }
    })
    await allSettled(work)
    for (const { path } of resources) {
      await this.#files.rename(temporaryOf(this.#resolve(path)), this.#resolve(path))
    }
    const directories = new Set(resources.map(({ path }) => directoryOf(this.#resolve(path))))
    for (const directory of directories) await this.#files.syncDirectory(directory)
  }

  async remove(paths: readonly string[]): Promise<void> {
    for (const path of paths) {
      this.#known.delete(this.#resolve(path))
      await this.#files.remove(this.#resolve(path))
    }
  }

  stat(path: string): Promise<ResourceStat | null> {
    return this.#files.stat(this.#resolve(path))
  }

  list(directory: string): Promise<readonly string[]> {
    return this.#files.list(this.#resolve(directory))
  }

  async #writeTemporary({ path, bytes }: Resource): Promise<void> {
    const file = await this.#files.open(temporaryOf(this.#resolve(path)), 'create')
    try {
      await file.write(0, bytes)
      await file.sync()
    } finally {
      await file.close()
    }
  }

  async #ensure(directory: string): Promise<void> {
    if (this.#known.has(directory)) return
    const parent = directoryOf(directory)
    await this.#ensure(parent)
    await this.#files.makeDirectory(directory)
    // Also when it was there: a crash may have come between making and syncing.
    await this.#files.syncDirectory(parent)
    this.#known.add(directory)
  }

  #resolve(path: string): string {
    if (path.split('/').includes('..')) throw new TypeError('a resource lies below its root')
    return `${this.#root}/${path}`
  }
}

function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'))
}

function temporaryOf(path: string): string {
  return `${path}.tmp`
}

/** Waits for all, then rejects with the first failure: nothing goes on in the background. */
async function allSettled(work: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) {
    if (result.status === 'rejected') throw result.reason
  }
}
