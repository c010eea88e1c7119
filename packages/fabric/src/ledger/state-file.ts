import { createCipheriv, createDecipheriv } from 'node:crypto'
import { dirname, join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { parseUtf8 } from '@countersign/protocol'
import type { DurableFile, FileLayer } from '../lib/durable-file.ts'
import type { Random } from '../lib/random.ts'
import {
  type ReplacedKey,
  type ReplacedKeyStore,
  readReplacedKeys,
  replacedKeyBytes,
  writeReplacedKeys,
} from './replaced-keys.ts'

/** The place in the log up to which a state has taken its entries. */
export interface StatePosition {
  /** Index of the next entry. */
  readonly position: number
  /** The exchange of the entry before it, which differs in another history; null at 0. */
  readonly last: string | null
  /** Entries that could not be opened. */
  readonly skipped: number
}

export interface StoredState extends StatePosition {
  /** The lines that the state gave. */
  readonly lines: readonly string[]
}

/** A file that is not the one that was written: changed, cut, or of another log or key. */
export class StateFileDamaged extends Error {
  override readonly name = 'StateFileDamaged'
}

export interface StateFileOptions {
  readonly directory: string
  /** Of the consumer. */
  readonly name: string
  /** Of the log. */
  readonly origin: string
  /** Of this file alone; each erasure replaces it. */
  readonly keys: ReplacedKeyStore
  readonly random: Random
  readonly files: FileLayer
}

const version = 1
const generationBytes = 4
const nonceBytes = 12
const tagBytes = 16
const headBytes = 1 + generationBytes + nonceBytes
const algorithm = 'aes-256-gcm'
/** A larger file is not one of ours. */
export const stateBytesMax = 512 * 1024 * 1024
/** Lines are encoded up to this many characters in one turn of the event loop. */
const turnChars = 128 * 1024

/**
 * The state of one consumer, with the place in the log that it covers, encrypted and authenticated
 * as a whole: `u8 version ‖ u32 generation ‖ nonce(12) ‖ ciphertext ‖ tag(16)`, AES-256-GCM under
 * the key of that generation, with consumer and log as additional data. The plaintext is one line
 * of JSON with the position, then the lines of the state.
 *
 * Written to a temporary file, synced, renamed, and the folder synced: a crash leaves the earlier
 * file or the new one, and the secret store has the key of either.
 */
export class StateFile {
  readonly #options: StateFileOptions
  readonly #path: string
  readonly #bound: Buffer
  #key: ReplacedKey | null = null
  /** Of a replacement that has begun, and may have reached the disk. */
  #next: ReplacedKey | null = null

  constructor(options: StateFileOptions) {
    const { directory, name, origin } = options
    this.#options = options
    this.#path = join(directory, `${name}.state`)
    this.#bound = Buffer.from(`${name}\n${origin}`)
  }

  /**
   * Null where there is none. Rejects with StateFileDamaged on one that was not written here. To be
   * called once, before the file is written: destroys the key that a crash left and no file has.
   */
  async read(): Promise<StoredState | null> {
    const { keys } = this.#options
    const kept = await keys.load()
    const known = kept === null ? [] : readReplacedKeys(kept, `the key of ${this.#path}`)
    const sealed = await this.#readFile()
    const generation = sealed === null ? null : generationOf(sealed)
    const found = known.find((each) => each.generation === generation)
    const key = found ??
      known.at(-1) ?? { generation: 1, key: this.#options.random(replacedKeyBytes) }
    if (known.length !== 1) await keys.store(writeReplacedKeys([key]))
    this.#key = key
    if (sealed === null) return null
    if (found === undefined) throw new StateFileDamaged('the file is of a key that is not kept')
    return parseState(this.#open(sealed, found))
  }

  /** The lines are taken over several turns of the event loop. */
  write(position: StatePosition, lines: Iterable<string>): Promise<void> {
    return this.#write(position, lines, this.#known())
  }

  /**
   * Writes the state under a new key. On resolve no earlier copy of the file can be opened. After a
   * rejection one of the two files is there, and it may be called again.
   */
  async replace(position: StatePosition, lines: Iterable<string>): Promise<void> {
    const { keys, random } = this.#options
    const key = this.#known()
    this.#next ??= { generation: key.generation + 1, key: random(replacedKeyBytes) }
    const next = this.#next
    await keys.store(writeReplacedKeys([key, next]))
    await this.#write(position, lines, next)
    await keys.store(writeReplacedKeys([next]))
    this.#key = next
    this.#next = null
  }

  #known(): ReplacedKey {
    if (this.#key === null) throw new TypeError('the file is read before it is written')
    return this.#key
  }

  async #write(
    position: StatePosition,
    lines: Iterable<string>,
    { generation, key }: ReplacedKey,
  ): Promise<void> {
    const { files, random } = this.#options
    const temporary = `${this.#path}.new`
    const directory = dirname(this.#path)
    if (await files.makeDirectory(directory)) await files.syncDirectory(dirname(directory))
    const file = await files.open(temporary, 'create')
    try {
      const nonce = random(nonceBytes)
      const cipher = createCipheriv(algorithm, key, nonce)
      cipher.setAAD(this.#bound)
      const head = Buffer.alloc(1 + generationBytes, version)
      head.writeUInt32BE(generation, 1)
      let at = await append(file, 0, Buffer.concat([head, nonce]))
      for (const text of chunks(position, lines)) {
        at = await append(file, at, cipher.update(text, 'utf8'))
        await setImmediate()
      }
      cipher.final()
      await append(file, at, cipher.getAuthTag())
      await file.sync()
    } finally {
      await file.close()
    }
    await files.rename(temporary, this.#path)
    await files.syncDirectory(directory)
  }

  async #readFile(): Promise<Uint8Array | null> {
    const file = await this.#options.files.open(this.#path, 'read')
    if (file === null) return null
    try {
      const size = await file.size()
      // Nothing of it is read: the generation of no key is that of an empty file.
      return size > stateBytesMax ? new Uint8Array() : await file.read(0, size)
    } finally {
      await file.close()
    }
  }

  #open(sealed: Uint8Array, { key }: ReplacedKey): string {
    const nonce = sealed.subarray(headBytes - nonceBytes, headBytes)
    const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: tagBytes })
    decipher.setAAD(this.#bound)
    decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes))
    const text = decipher.update(sealed.subarray(headBytes, sealed.length - tagBytes))
    try {
      decipher.final()
    } catch (cause) {
      throw new StateFileDamaged('the file is not authentic', { cause })
    }
    return parseUtf8(text)
  }
}

/** Null for what is not a file of this version. */
function generationOf(sealed: Uint8Array): number | null {
  if (sealed[0] !== version || sealed.length < headBytes + tagBytes) return null
  return new DataView(sealed.buffer, sealed.byteOffset, sealed.byteLength).getUint32(1)
}

async function append(file: DurableFile, at: number, bytes: Uint8Array): Promise<number> {
  await file.write(at, bytes)
  return at + bytes.length
}

function* chunks({ position, last, skipped }: StatePosition, lines: Iterable<string>) {
  let text = `${JSON.stringify({ position, last, skipped })}\n`
  for (const line of lines) {
    text += `${line}\n`
    if (text.length < turnChars) continue
    yield text
    text = ''
  }
  if (text !== '') yield text
}

function parseState(text: string): StoredState {
  const [head = '', ...lines] = text.split('\n')
  const parsed = Object(JSON.parse(head)) as Readonly<Record<string, unknown>>
  const { position, last, skipped } = parsed
  const isText = last === null || typeof last === 'string'
  if (typeof position !== 'number' || typeof skipped !== 'number' || !isText) {
    throw new StateFileDamaged('the file has no position')
  }
  // After the line break at the end.
  lines.pop()
  return { position, last, skipped, lines }
}
