import { dirname } from 'node:path'
import { Serializer } from '../../concurrency/serializer.ts'
import { type FileLayer, readWhole, systemFiles } from '../../lib/durable-file.ts'
import type { Random } from '../../lib/random.ts'
import type { SecretStore } from '../../secrets/secret-store.ts'
import {
  deriveWrappingKey,
  type Envelope,
  parseEnvelope,
  rewrapEnvelope,
  SecretRejected,
  sealEnvelope,
  unsealEnvelope,
  type WrappingKey,
  writeEnvelope,
} from '../secret-envelope.ts'
import { assertSecretName, parseVersions, secretFileName, writeVersions } from '../secret-index.ts'

export interface FileSecretStoreOptions {
  /** A folder of its own, whose parent exists. */
  readonly dir: string
  /** 32 bytes. Not kept: only what is derived from it is. */
  readonly masterKey: Uint8Array
  readonly random: Random
  readonly files?: FileLayer
  /**
   * Keeps other processes from writing, until what it resolves to is called. Held by the caller
   * while the folder is opened. Without it, this process is the only one.
   */
  readonly lock?: () => Promise<() => void>
}

/** No name can begin with a dot, so the index shares its folder with secrets. */
const indexFile = '.index'
const indexName = '.index'
const secretEnding = '.secret'
const temporaryEnding = '.new'

/**
 * Opens the folder of sealed secrets, or makes an empty one.
 *
 * Next to one file per secret there is an index, sealed like a secret, with the highest version of
 * each. It is the key check (a wrong master key fails here, not at the first use), and it detects a
 * file that was put back to an older version. This store does not detect an attacker who puts back
 * all files at once; the ledger, which outlives it, is where that shows.
 */
export async function openFileSecretStore(options: FileSecretStoreOptions): Promise<SecretStore> {
  const store = new FileSecretStore(options)
  await store.open()
  return store
}

/**
 * Opens every secret that the index names, and changes nothing. Resolves to their number; rejects
 * with the name of the first one that is missing or damaged.
 */
export function inspectFileSecrets(
  options: Pick<FileSecretStoreOptions, 'dir' | 'masterKey' | 'files'>,
): Promise<number> {
  const random = () => {
    throw new TypeError('an inspection seals nothing')
  }
  return new FileSecretStore({ ...options, random }).inspect()
}

/** Returns whether a file of the folder of secrets is the index or a secret. */
export function isSecretFile(name: string): boolean {
  return name === indexFile || name.endsWith(secretEnding)
}

/** Of the index, the largest file: some 100 bytes for each secret. */
const fileBytesMax = 64 * 1024 * 1024

class FileSecretStore implements SecretStore {
  readonly #dir: string
  readonly #files: FileLayer
  readonly #random: Random
  readonly #lock: () => Promise<() => void>
  #key: WrappingKey
  #versions = new Map<string, number>()
  #indexVersion = 0
  /** Set when a write failed half-way: what is on disk is only known after the next open. */
  #broken: unknown = null
  /** Everything runs one after the other: a rotation must see a still store. */
  readonly #calls = new Serializer()

  constructor(options: FileSecretStoreOptions) {
    this.#dir = options.dir
    this.#files = options.files ?? systemFiles
    this.#random = options.random
    this.#lock = options.lock ?? (async () => () => undefined)
    this.#key = deriveWrappingKey(options.masterKey)
  }

  async open(): Promise<void> {
    await this.#files.makeDirectory(this.#dir)
    // Also when it was there: a crash may have come between making it and this.
    await this.#files.syncDirectory(dirname(this.#dir))
    const names = await this.#files.list(this.#dir)
    const bytes = await this.#read(indexFile)
    const index = bytes === null ? null : this.#readIndex(bytes)
    // Before anything is written: who restores a part must find the rest as it was.
    this.#assertPresent(names)
    for (const name of names) {
      // Removes the remainder of a write that a crash interrupted and that was never acknowledged.
      if (name.endsWith(temporaryEnding)) await this.#files.remove(this.#path(name))
    }
    if (index === null) return this.#create(names)
    await this.#settle(index)
  }

  async inspect(): Promise<number> {
    const bytes = await this.#read(indexFile)
    if (bytes === null) throw indexMissing()
    this.#readIndex(bytes)
    this.#assertPresent(await this.#files.list(this.#dir))
    for (const name of this.#versions.keys()) (await this.#find(name))?.fill(0)
    return this.#versions.size
  }

  #readIndex(bytes: Uint8Array): Envelope {
    const index = parseEnvelope(bytes, 'index')
    if (!index.wraps.some((wrap) => wrap.key === this.#key.id)) throw wrongKey()
    this.#versions = parseVersions(unsealEnvelope(index, this.#key))
    this.#indexVersion = index.version
    return index
  }

  #assertPresent(files: readonly string[]): void {
    const found = new Set(files)
    const missing = [...this.#versions.keys()].filter((name) => !found.has(secretFileName(name)))
    const [first] = missing
    if (first !== undefined) throw secretMissing(missing.join(', '))
  }

  find(name: string): Promise<Uint8Array | null> {
    return this.#inTurn(() => this.#find(name))
  }

  put(name: string, value: Uint8Array): Promise<void> {
    assertSecretName(name)
    const copy = value.slice()
    return this.#alone(() => this.#put(name, copy)).finally(() => {
      copy.fill(0)
    })
  }

  create(name: string, value: Uint8Array): Promise<Uint8Array> {
    assertSecretName(name)
    const copy = value.slice()
    return this.#alone(async () => {
      const stored = await this.#find(name)
      if (stored !== null) return stored
      await this.#put(name, copy)
      return copy
    })
  }

  list(): Promise<readonly string[]> {
    return this.#inTurn(async () => {
      const files = await this.#files.list(this.#dir)
      const found = new Set(this.#versions.keys())
      for (const file of files) {
        if (file.endsWith(secretEnding)) {
          found.add(file.slice(0, -secretEnding.length).replaceAll('+', '/'))
        }
      }
      return [...found].toSorted()
    })
  }

  rotate(newMasterKey: Uint8Array): Promise<void> {
    const next = deriveWrappingKey(newMasterKey)
    return this.#alone(() => this.#rotate(next))
  }

  async #create(names: readonly string[]): Promise<void> {
    if (names.some((name) => name.endsWith(secretEnding))) {
      throw indexMissing()
    }
    await this.#writeIndex([this.#key])
  }

  async #find(name: string): Promise<Uint8Array | null> {
    assertSecretName(name)
    const envelope = await this.#load(name)
    return envelope === null ? null : unsealEnvelope(envelope, this.#key)
  }

  /**
   * The newest version of a secret. Rejects where the index knows of a newer one, or of one at all.
   */
  async #load(name: string): Promise<Envelope | null> {
    const known = this.#versions.get(name) ?? 0
    const bytes = await this.#read(secretFileName(name))
    if (bytes === null) {
      if (known === 0) return null
      throw secretMissing(name)
    }
    const envelope = parseEnvelope(bytes, name)
    if (envelope.name !== name) throw new SecretRejected(`secret ${name} was swapped for another`)
    // A newer one than the index knows of was written just before a crash, and is sound.
    if (envelope.version < known) {
      throw new SecretRejected(`secret ${name} was put back to an older version`)
    }
    return envelope
  }

  async #put(name: string, value: Uint8Array): Promise<void> {
    const stored = await this.#load(name)
    const version = Math.max(stored?.version ?? 0, this.#versions.get(name) ?? 0) + 1
    const envelope = sealEnvelope({ name, version, value }, [this.#key], this.#random)
    // File first, then index: a crash between the two leaves a version newer than the index knows,
    // which is read; the other order would leave a secret that looks put back.
    await this.#write(secretFileName(name), envelope)
    this.#versions.set(name, version)
    await this.#writeIndex([this.#key])
  }

  /**
   * 1. Every secret is wrapped under both keys.
   * 2. So is the index: now either key opens everything.
   * 3. The index alone goes over to the new key; from here on the old one opens nothing.
   * 4. The old wraps are dropped.
   *
   * A crash before 3 leaves the old key in force, one after it the new; the next process that opens
   * the store finishes what is left.
   */
  async #rotate(next: WrappingKey): Promise<void> {
    const { id } = next
    if (id === this.#key.id) throw new TypeError('the new master key is the one in force')
    for (const name of await this.#names()) {
      const envelope = await this.#load(name)
      if (envelope === null) continue
      const to = { keys: [this.#key, next], random: this.#random }
      await this.#write(secretFileName(name), rewrapEnvelope(envelope, this.#key, to))
    }
    await this.#writeIndex([this.#key, next])
    await this.#writeIndex([next])
    this.#key = next
    await this.#dropForeignWraps()
  }

  /** Finishes, in the direction of the key that opened it, a rotation that a crash cut short. */
  async #settle(index: Envelope): Promise<void> {
    if (index.wraps.length > 1) await this.#writeIndex([this.#key])
    await this.#dropForeignWraps()
  }

  async #dropForeignWraps(): Promise<void> {
    for (const name of await this.#names()) {
      const envelope = await this.#load(name)
      if (envelope === null || envelope.wraps.length === 1) continue
      const to = { keys: [this.#key], random: this.#random }
      await this.#write(secretFileName(name), rewrapEnvelope(envelope, this.#key, to))
    }
  }

  /** From the files, because one may be newer than the index. */
  async #names(): Promise<readonly string[]> {
    const files = await this.#files.list(this.#dir)
    return files
      .filter((file) => file.endsWith(secretEnding))
      .map((file) => file.slice(0, -secretEnding.length).replaceAll('+', '/'))
  }

  async #writeIndex(keys: readonly WrappingKey[]): Promise<void> {
    const value = writeVersions(this.#versions)
    const version = ++this.#indexVersion
    const what = { name: indexName, version, value }
    await this.#write(indexFile, sealEnvelope(what, keys, this.#random))
  }

  /** Durable when it resolves, whole or not at all: new file, sync, rename, sync of the folder. */
  async #write(fileName: string, envelope: Envelope): Promise<void> {
    const path = this.#path(fileName)
    const temporary = `${path}${temporaryEnding}`
    const file = await this.#files.open(temporary, 'create')
    try {
      await file.write(0, writeEnvelope(envelope))
      await file.sync()
    } finally {
      await file.close()
    }
    await this.#files.rename(temporary, path)
    await this.#files.syncDirectory(this.#dir)
  }

  async #read(fileName: string): Promise<Uint8Array | null> {
    const path = this.#path(fileName)
    const file = await this.#files.open(path, 'read')
    if (file === null) return null
    try {
      return new Uint8Array(await readWhole(file, path, fileBytesMax))
    } finally {
      await file.close()
    }
  }

  #path(fileName: string): string {
    return `${this.#dir}/${fileName}`
  }

  /** Writes as the only process, from the index as the last one left it. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    return this.#inTurn(async () => {
      const unlock = await this.#lock()
      try {
        return await this.#writing(async () => {
          await this.#readIndexAgain()
          return work()
        })
      } finally {
        unlock()
      }
    })
  }

  async #readIndexAgain(): Promise<void> {
    const known = this.#indexVersion
    const bytes = await this.#read(indexFile)
    if (bytes === null) throw indexMissing()
    this.#readIndex(bytes)
    if (this.#indexVersion >= known) return
    throw new SecretRejected('the index of secrets was put back to an older version')
  }

  async #writing<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      // A refusal of what was found leaves the store as it was; a failed write may not.
      if (!(error instanceof SecretRejected) && !(error instanceof TypeError)) this.#broken = error
      throw error
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.#calls.run(() => {
      if (this.#broken === null) return work()
      throw new Error('the secret store must be opened again after a failed write', {
        cause: this.#broken,
      })
    })
  }
}

function indexMissing(): SecretRejected {
  return new SecretRejected('the index of secrets is missing; restore it from a backup')
}

function secretMissing(names: string): SecretRejected {
  return new SecretRejected(`secret ${names} is missing; restore it from a backup`)
}

function wrongKey(): SecretRejected {
  return new SecretRejected(
    'the master key does not open this secret store; configure the key that it was made with, or, after a rotation, the new one',
  )
}
