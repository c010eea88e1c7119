import type {
  DurableFile,
  FileLayer,
  FileStat,
} from '../../packages/fabric/src/lib/durable-file.ts'

/** Operations that change the disk, or promise something about it: each can be made to fail. */
export type LossyOperation =
  | 'create'
  | 'write'
  | 'sync'
  | 'rename'
  | 'remove'
  | 'makeDirectory'
  | 'syncDirectory'

export interface Fault {
  /** Counted from 1 over all operations. */
  readonly at: number
  /** `before`: it did not happen; `after`: it happened and is reported as failed. */
  readonly when: 'before' | 'after'
  /** The fate of the process: everything later fails, or just this one operation. */
  readonly process: 'dies' | 'goes on'
}

/**
 * The writes that survive: only synced ones, all of them, or those that the function lets through.
 */
export type Survival = 'synced' | 'everything' | (() => boolean)

interface FileNode {
  readonly kind: 'file'
  /** The content for readers, and the content after a power loss. */
  cached: Buffer
  durable: Buffer
  /** Writes and truncations since the last sync, in order. */
  pending: { readonly position: number; readonly bytes: Buffer; readonly truncate: boolean }[]
  /** True after a failed sync: the cache shows bytes that no sync will write. */
  hasGivenUp: boolean
}

interface DirectoryNode {
  readonly kind: 'directory'
  readonly cached: Map<string, Node>
  readonly durable: Map<string, Node>
}

type Node = FileNode | DirectoryNode

/** One change of names; a rename is one of two, and is never half durable. */
type NameChange = readonly {
  readonly directory: DirectoryNode
  readonly name: string
  readonly node: Node | null
}[]

/** Disks keep whole sectors: a torn write is some of them. */
const sectorBytes = 512

/**
 * A disk in memory with a page cache in front of it. Kill -9 alone finds no missing sync, because
 * the cache survives the process; here a power loss takes whatever was not synced: bytes of files
 * until `sync`, names until `syncDirectory`. After a failed sync the cache still shows what will
 * never be on the disk, as real kernels do.
 */
export class LossyDisk implements FileLayer {
  readonly #root: DirectoryNode = emptyDirectory()
  #changes: NameChange[] = []
  readonly #locks = new Set<string>()
  #fault: Fault | null = null
  #failNext: LossyOperation | null = null
  #dead = false
  #generation = 0
  /** Every operation since the last `restart`. */
  readonly log: LossyOperation[] = []
  free = Number.MAX_SAFE_INTEGER

  /** The process is new: its descriptors and locks are gone, the page cache is still there. */
  restart(fault: Fault | null = null): void {
    this.#generation += 1
    this.#fault = fault
    this.#dead = false
    this.#locks.clear()
    this.log.length = 0
  }

  /** For a process that runs already: counted, as at its start, over all its operations. */
  setFault(fault: Fault): void {
    this.#fault = fault
  }

  powerLoss(survival: Survival): void {
    const survives = typeof survival === 'function' ? survival : () => survival === 'everything'
    for (const change of this.#changes) if (survives()) applyNames(change)
    this.#changes = []
    const seen = new Set<Node>()
    settle(this.#root, survives, seen)
    this.restart()
  }

  /** The next operation of this kind does not happen and is reported as failed. */
  failNext(operation: LossyOperation): void {
    this.#failNext = operation
  }

  /** For `openFileLedgerStore` and others: an exclusive lock that dies with the process. */
  lock = (path: string): (() => void) => {
    if (this.#locks.has(path)) throw new Error('locked')
    this.#locks.add(path)
    const generation = this.#generation
    return () => {
      if (generation === this.#generation) this.#locks.delete(path)
    }
  }

  /**
   * The files as the process that runs now has them: everything fails once it is gone. A store that
   * a test abandons has timers that still run, and would otherwise be a second writer to its
   * successor's files.
   */
  mount(): FileLayer {
    const generation = this.#generation
    const alive = <Result>(operation: () => Promise<Result>): Promise<Result> =>
      generation === this.#generation ? operation() : Promise.reject(systemError('EIO'))
    const open = (path: string, mode: 'create' | 'read' | 'update') =>
      alive(() => (mode === 'create' ? this.open(path, mode) : this.open(path, mode)))
    return {
      open: open as FileLayer['open'],
      rename: (from, to) => alive(() => this.rename(from, to)),
      remove: (path) => alive(() => this.remove(path)),
      stat: (path) => alive(() => this.stat(path)),
      list: (directory) => alive(() => this.list(directory)),
      makeDirectory: (path) => alive(() => this.makeDirectory(path)),
      syncDirectory: (path) => alive(() => this.syncDirectory(path)),
      freeBytes: () => alive(() => this.freeBytes()),
    }
  }

  /** All files as readers see them, for tests that damage one. */
  paths(): readonly string[] {
    const found: string[] = []
    const walk = (directory: DirectoryNode, prefix: string) => {
      for (const [name, node] of directory.cached) {
        if (node.kind === 'directory') walk(node, `${prefix}/${name}`)
        else found.push(`${prefix}/${name}`)
      }
    }
    walk(this.#root, '')
    return found.sort()
  }

  readWhole(path: string): Buffer {
    const node = this.#find(path)
    if (node?.kind !== 'file') throw new Error(`no file ${path}`)
    return Buffer.from(node.cached)
  }

  /** Writes past the model, durable at once: what an attacker or a failing disk does. */
  overwrite(path: string, bytes: Uint8Array): void {
    const node = this.#find(path)
    if (node?.kind !== 'file') throw new Error(`no file ${path}`)
    node.cached = Buffer.from(bytes)
    node.durable = Buffer.from(bytes)
    node.pending = []
    node.hasGivenUp = false
  }

  /** A second disk in the same state, for tests that try many faults on one state. */
  copy(): LossyDisk {
    const other = new LossyDisk()
    copyInto(this.#root, other.#root)
    return other
  }

  open(path: string, mode: 'create'): Promise<DurableFile>
  open(path: string, mode: 'read' | 'update'): Promise<DurableFile | null>
  async open(path: string, mode: 'create' | 'read' | 'update'): Promise<DurableFile | null> {
    this.#assertAlive()
    if (mode === 'create') {
      await this.#step('create', () => this.#create(path))
    }
    const node = this.#find(path)
    return node?.kind === 'file' ? this.#handle(node) : null
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#step('rename', () => {
      const source = this.#parent(from)
      const target = this.#parent(to)
      const node = source.directory.cached.get(source.name)
      if (node === undefined) throw systemError('ENOENT')
      this.#change([
        { directory: source.directory, name: source.name, node: null },
        { directory: target.directory, name: target.name, node },
      ])
    })
  }

  async remove(path: string): Promise<void> {
    await this.#step('remove', () => {
      const node = this.#find(path)
      if (node === null) return
      if (node.kind === 'directory' && node.cached.size > 0) throw systemError('ENOTEMPTY')
      this.#change([{ ...this.#parent(path), node: null }])
    })
  }

  async stat(path: string): Promise<FileStat | null> {
    this.#assertAlive()
    const node = this.#find(path)
    if (node === null) return null
    return node.kind === 'directory'
      ? { kind: 'folder', bytes: 0 }
      : { kind: 'file', bytes: node.cached.length }
  }

  async list(directory: string): Promise<readonly string[]> {
    this.#assertAlive()
    const node = this.#find(directory)
    return node?.kind === 'directory' ? [...node.cached.keys()] : []
  }

  async makeDirectory(path: string): Promise<boolean> {
    let made = false
    await this.#step('makeDirectory', () => {
      if (this.#find(path) !== null) return
      this.#change([{ ...this.#parent(path), node: emptyDirectory() }])
      made = true
    })
    return made
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#step('syncDirectory', () => {
      const node = this.#find(path)
      if (node?.kind !== 'directory') throw systemError('ENOENT')
      const touches = (change: NameChange) => change.some(({ directory }) => directory === node)
      for (const change of this.#changes.filter(touches)) applyNames(change)
      this.#changes = this.#changes.filter((change) => !touches(change))
    })
  }

  async freeBytes(): Promise<number> {
    return this.free
  }

  #create(path: string): void {
    const found = this.#find(path)
    if (found?.kind === 'directory') throw systemError('EISDIR')
    if (found !== null) {
      found.pending.push({ position: 0, bytes: Buffer.alloc(0), truncate: true })
      found.cached = Buffer.alloc(0)
      return
    }
    const empty = Buffer.alloc(0)
    const node: FileNode = fileNode(empty)
    this.#change([{ ...this.#parent(path), node }])
  }

  #handle(node: FileNode): DurableFile {
    const generation = this.#generation
    const alive = () => {
      if (generation !== this.#generation) throw systemError('EBADF')
      this.#assertAlive()
    }
    return {
      read: async (position, length) => {
        alive()
        return Buffer.from(node.cached.subarray(position, position + length))
      },
      write: async (position, bytes) => {
        alive()
        await this.#step('write', () => {
          const copy = Buffer.from(bytes)
          node.pending.push({ position, bytes: copy, truncate: false })
          node.cached = place(node.cached, position, copy)
        })
      },
      sync: async () => {
        alive()
        await this.#step(
          'sync',
          () => {
            node.durable = node.hasGivenUp ? applied(node, () => true) : node.cached
            node.pending = []
          },
          // The kernel marks the pages clean: no later sync writes them either.
          () => {
            node.pending = []
            node.hasGivenUp = true
          },
        )
      },
      size: async () => {
        alive()
        return node.cached.length
      },
      close: async () => alive(),
    }
  }

  async #step(operation: LossyOperation, happen: () => void, fail?: () => void): Promise<void> {
    this.#assertAlive()
    const generation = this.#generation
    // A real call takes a turn; what ran at the same time may come first.
    await Promise.resolve()
    if (generation !== this.#generation) throw systemError('EIO')
    this.#assertAlive()
    this.log.push(operation)
    if (this.#failNext === operation) {
      this.#failNext = null
      fail?.()
      throw systemError('EIO')
    }
    const fault = this.#fault
    if (fault?.at !== this.log.length) return happen()
    if (fault.when === 'after') happen()
    else fail?.()
    this.#dead = fault.process === 'dies'
    throw systemError('EIO')
  }

  #assertAlive(): void {
    if (this.#dead) throw systemError('EIO')
  }

  #change(change: NameChange): void {
    for (const { directory, name, node } of change) {
      if (node === null) directory.cached.delete(name)
      else directory.cached.set(name, node)
    }
    this.#changes.push(change)
  }

  #parent(path: string): { directory: DirectoryNode; name: string } {
    const cut = path.lastIndexOf('/')
    const directory = this.#find(path.slice(0, cut))
    if (directory?.kind !== 'directory') throw systemError('ENOENT')
    return { directory, name: path.slice(cut + 1) }
  }

  #find(path: string): Node | null {
    let node: Node | undefined = this.#root
    for (const name of path.split('/').filter((part) => part !== '')) {
      if (node?.kind !== 'directory') return null
      node = node.cached.get(name)
    }
    return node ?? null
  }
}

function emptyDirectory(): DirectoryNode {
  return { kind: 'directory', cached: new Map(), durable: new Map() }
}

function applyNames(change: NameChange): void {
  for (const { directory, name, node } of change) {
    if (node === null) directory.durable.delete(name)
    else directory.durable.set(name, node)
  }
}

/** Makes the cache show what the disk has. */
function settle(directory: DirectoryNode, survives: () => boolean, seen: Set<Node>): void {
  directory.cached.clear()
  for (const [name, node] of directory.durable) {
    directory.cached.set(name, node)
    if (seen.has(node)) continue
    seen.add(node)
    if (node.kind === 'directory') settle(node, survives, seen)
    else settleFile(node, survives)
  }
}

function settleFile(node: FileNode, survives: () => boolean): void {
  node.durable = applied(node, survives)
  node.pending = []
  node.hasGivenUp = false
  node.cached = node.durable
}

/** The durable content after those of the pending writes, sector by sector, that survive. */
function applied({ durable, pending }: FileNode, survives: () => boolean): Buffer {
  const ends = pending.map(({ position, bytes }) => position + bytes.length)
  const content = Buffer.alloc(Math.max(durable.length, ...ends))
  content.set(durable)
  let { length } = durable
  for (const { position, bytes, truncate } of pending) {
    if (truncate && survives()) {
      content.fill(0)
      length = 0
    }
    for (let at = 0; at < bytes.length; at += sectorBytes) {
      if (!survives()) continue
      const sector = bytes.subarray(at, at + sectorBytes)
      content.set(sector, position + at)
      length = Math.max(length, position + at + sector.length)
    }
  }
  return content.subarray(0, length)
}

function fileNode(bytes: Buffer): FileNode {
  return { kind: 'file', cached: bytes, durable: bytes, pending: [], hasGivenUp: false }
}

function place(content: Buffer, position: number, bytes: Buffer): Buffer {
  const end = position + bytes.length
  const next = Buffer.alloc(Math.max(content.length, end))
  next.set(content)
  next.set(bytes, position)
  return next
}

function copyInto(from: DirectoryNode, to: DirectoryNode): void {
  for (const [name, node] of from.cached) {
    let twin: Node
    if (node.kind === 'directory') {
      twin = emptyDirectory()
      copyInto(node, twin)
    } else {
      const bytes = Buffer.from(node.cached)
      twin = fileNode(bytes)
    }
    to.cached.set(name, twin)
    to.durable.set(name, twin)
  }
}

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: simulated`), { code })
}
