import { createHash } from 'node:crypto'
import { constants, copyFileSync, existsSync, linkSync, readFileSync, renameSync } from 'node:fs'
import { readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parseUtf8, utf8 } from '@countersign/protocol'
import { z } from 'zod'
import { systemFiles } from '../lib/durable-file.ts'
import { makeFolder } from '../lib/named-path.ts'
import { type StagedPolicyFile, stagePolicyFile, writeDurably } from './policy-files.ts'
import { isPolicyFileName } from './policy-folder.ts'
import type { StoredPolicies } from './policy-rows.ts'

export interface PolicyMirrorOptions {
  /** The folder of `*.cedar` files. */
  readonly dir: string
  /** The file that names the set which the folder mirrors, outside of the folder. */
  readonly marker: string
  /**
   * Takes the folder for this process; null while another process that uses it has it. Two that
   * wrote it could each take the files of the other one for edits, and bring back an older set.
   */
  claim(): (() => void) | null
  /**
   * Called for an edit that the set of the state has superseded: the file, and the name under which
   * its text was kept, or null for a file that was removed by hand.
   */
  onConflict(file: string, keptAs: string | null): void
}

const markerSchema = z.strictObject({
  change: z.number().int().min(1),
  version: z.string(),
  /** SHA-256 of each text, so that what was edited by hand shows. */
  files: z.record(z.string(), z.string()),
})
type Marker = z.infer<typeof markerSchema>

/** The old text of a file, while it is decided whether it was edited by hand. */
const replacedSuffix = '.replaced'

/**
 * The folder as a copy of the set in the state. The marker is written last: a crash in the middle
 * leaves one that names an older set, so that the next start writes the rest.
 */
export class PolicyMirror {
  readonly #options: PolicyMirrorOptions
  #marker: Marker | null = null
  #release: (() => void) | null = null

  constructor(options: PolicyMirrorOptions) {
    this.#options = options
  }

  /** True while this process has the folder, which it takes if no other process has it. */
  holds(): boolean {
    if (this.#release !== null) return true
    this.#release = this.#options.claim()
    // Of the process that had it before.
    if (this.#release !== null) this.#marker = readMarker(this.#options.marker)
    return this.#release !== null
  }

  /**
   * True if a file that differs from `stored` was edited by hand on the basis of it. A folder that
   * is missing was not edited: its disk may be.
   */
  mirrors(stored: StoredPolicies): boolean {
    const isMarked = this.holds() && this.#marker?.version === stored.version
    return isMarked && existsSync(this.#options.dir)
  }

  close(): void {
    this.#release?.()
    this.#release = null
  }

  /**
   * Makes the folder hold `stored` and nothing else; `only` limits it to some files, where all
   * others are as `stored` has them or were edited on the basis of it. Each file is replaced at
   * once. A text that was edited by hand and is not part of `stored` is kept under another name.
   * Does nothing while another process has the folder.
   */
  async write(stored: StoredPolicies, only: readonly string[] | null = null): Promise<void> {
    if (!this.holds()) return
    const { dir } = this.#options
    const names = existsSync(dir) ? await readdir(dir) : []
    await this.#settleReplaced(names)
    const wanted = new Map(stored.sources.map(({ name, text }) => [name, text]))
    const files = new Set([...names.filter((name) => isPolicyFileName(name)), ...wanted.keys()])
    const differing: string[] = []
    for (const name of only ?? files) {
      if ((await this.#read(name)) !== (wanted.get(name) ?? null)) differing.push(name)
    }
    if (differing.length > 0) await this.#replaceAll(stored, differing)
    await this.#mark(stored)
  }

  async #replaceAll(stored: StoredPolicies, differing: readonly string[]): Promise<void> {
    const { dir } = this.#options
    const wanted = new Map(stored.sources.map(({ name, text }) => [name, text]))
    makeFolder(dir)
    // Each file is on the disk before the first one is replaced: a full disk refuses all of them.
    const staged = new Map<string, StagedPolicyFile>()
    try {
      for (const name of differing) {
        const text = wanted.get(name)
        if (text !== undefined) staged.set(name, await stagePolicyFile(dir, { name, text }))
      }
      const known = this.#textsBefore(stored)
      for (const name of differing) await this.#replace(name, staged.get(name) ?? null, known)
    } finally {
      for (const file of staged.values()) await file.discard()
    }
    await systemFiles.syncDirectory(dir)
  }

  /** The texts that may be overwritten: those of a set that `stored` has followed. */
  #textsBefore({ change }: StoredPolicies): Marker['files'] {
    // A state that was restored from a backup knows nothing of a later set.
    return this.#marker !== null && this.#marker.change <= change ? this.#marker.files : {}
  }

  async #replace(
    name: string,
    staged: StagedPolicyFile | null,
    known: Marker['files'],
  ): Promise<void> {
    const path = join(this.#options.dir, name)
    let isThere = true
    // The old text stays reachable: an editor may have saved it since it was read.
    const keep = (): void => {
      isThere = keepReplaced(path)
    }
    if (staged === null) renameSync(path, `${path}${replacedSuffix}`)
    else await staged.commit(keep)
    if (isThere) await this.#settle(name, known)
    else if (Object.hasOwn(known, name)) this.#options.onConflict(name, null)
  }

  /** Removes the old text of a file, or gives it a name that lasts if it was edited by hand. */
  async #settle(name: string, known: Marker['files']): Promise<void> {
    const path = join(this.#options.dir, name)
    const replaced = `${path}${replacedSuffix}`
    const bytes = await readFile(replaced)
    const digest = digestOf(bytes)
    if (Object.hasOwn(known, name) && known[name] === digest) {
      await rm(replaced)
      return
    }
    if ((await readFile(path).catch(() => null))?.equals(bytes) === true) {
      await rm(replaced)
      return
    }
    const keptAs = `${name}.conflict-${digest.slice(0, 12)}`
    await rename(replaced, join(this.#options.dir, keptAs))
    this.#options.onConflict(name, keptAs)
  }

  /** A crash left them between two steps. */
  async #settleReplaced(names: readonly string[]): Promise<void> {
    for (const each of names) {
      const name = each.slice(0, -replacedSuffix.length)
      if (each.endsWith(replacedSuffix) && isPolicyFileName(name)) {
        await this.#settle(name, this.#marker?.files ?? {})
      }
    }
  }

  /** Null where there is none; a file that is not text equals no text. */
  async #read(name: string): Promise<string | Uint8Array | null> {
    try {
      const bytes = await readFile(join(this.#options.dir, name))
      return textOf(bytes) ?? bytes
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
      throw error
    }
  }

  async #mark({ change, version, sources }: StoredPolicies): Promise<void> {
    if (this.#marker?.version === version && this.#marker.change === change) return
    const files = Object.fromEntries(sources.map(({ name, text }) => [name, digestOf(utf8(text))]))
    const marker = { change, version, files }
    const path = this.#options.marker
    await writeDurably(`${path}.new`, utf8(`${JSON.stringify(marker)}\n`))
    await rename(`${path}.new`, path)
    await systemFiles.syncDirectory(dirname(path))
    this.#marker = marker
  }
}

/** False where the file does not exist. */
function keepReplaced(path: string): boolean {
  const replaced = `${path}${replacedSuffix}`
  try {
    linkSync(path, replaced)
    return true
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : ''
    if (code === 'ENOENT') return false
    if (code === 'EEXIST') throw error
    // Not all file systems have links.
    copyFileSync(path, replaced, constants.COPYFILE_EXCL)
    return true
  }
}

/** A marker that cannot be read counts as none: edits by hand are then kept aside. */
function readMarker(path: string): Marker | null {
  try {
    return markerSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch {
    return null
  }
}

function textOf(bytes: Uint8Array): string | null {
  try {
    return parseUtf8(bytes)
  } catch {
    return null
  }
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
