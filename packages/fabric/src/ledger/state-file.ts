import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto'
import { dirname, join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { parseUtf8 } from '@countersign/protocol'
import type { DurableFile, FileLayer } from '../lib/durable-file.ts'
import type { Random } from '../lib/random.ts'

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
  /** 32 bytes, secret. */
  readonly key: Uint8Array
  readonly random: Random
  readonly files: FileLayer
}

const version = 1
const nonceBytes = 12
const tagBytes = 16
const algorithm = 'aes-256-gcm'
const keyInfo = 'countersign-consumer-state-v1'
/** A larger file is not one of ours. */
export const stateBytesMax = 512 * 1024 * 1024
/** Lines are encoded up to this many characters in one turn of the event loop. */
const turnChars = 128 * 1024

/**
 * The state of one consumer, with the place in the log that it covers, encrypted and authenticated
 * as a whole: `u8 version ‖ nonce(12) ‖ ciphertext ‖ tag(16)`, AES-256-GCM under a key of the slot,
 * with consumer and log as additional data. The plaintext is one line of JSON with the position,
 * then the lines of the state.
 *
 * Written to a temporary file, synced, renamed, and the folder synced: a crash leaves the earlier
 * file or the new one.
 */
export class StateFile {
  readonly #options: StateFileOptions
  readonly #key: Uint8Array
  readonly #path: string
  readonly #bound: Buffer

  constructor(options: StateFileOptions) {
    const { directory, name, origin, key } = options
    this.#options = options
    this.#key = new Uint8Array(hkdfSync('sha256', key, '', keyInfo, 32))
    this.#path = join(directory, `${name}.state`)
    this.#bound = Buffer.from(`${name}\n${origin}`)
  }

  /** Null where there is none. Rejects with StateFileDamaged on one that was not written here. */
  async read(): Promise<StoredState | null> {
    const file = await this.#options.files.open(this.#path, 'read')
    if (file === null) return null
    let sealed: Uint8Array
    try {
      const size = await file.size()
      if (size > stateBytesMax) throw new StateFileDamaged('the file is too large')
      sealed = await file.read(0, size)
    } finally {
      await file.close()
    }
    return parseState(this.#open(sealed))
  }

  /** The lines are taken over several turns of the event loop. */
  async write(position: StatePosition, lines: Iterable<string>): Promise<void> {
    const { files, random } = this.#options
    const temporary = `${this.#path}.new`
    const directory = dirname(this.#path)
    if (await files.makeDirectory(directory)) await files.syncDirectory(dirname(directory))
    const file = await files.open(temporary, 'create')
    try {
      const nonce = random(nonceBytes)
      const cipher = createCipheriv(algorithm, this.#key, nonce)
      cipher.setAAD(this.#bound)
      let at = await append(file, 0, Buffer.concat([Buffer.of(version), nonce]))
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

  #open(sealed: Uint8Array): string {
    if (sealed[0] !== version || sealed.length < 1 + nonceBytes + tagBytes) {
      throw new StateFileDamaged('the file is malformed')
    }
    const nonce = sealed.subarray(1, 1 + nonceBytes)
    const decipher = createDecipheriv(algorithm, this.#key, nonce, { authTagLength: tagBytes })
    decipher.setAAD(this.#bound)
    decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes))
    const text = decipher.update(sealed.subarray(1 + nonceBytes, sealed.length - tagBytes))
    try {
      decipher.final()
    } catch (cause) {
      throw new StateFileDamaged('the file is not authentic', { cause })
    }
    return parseUtf8(text)
  }
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
