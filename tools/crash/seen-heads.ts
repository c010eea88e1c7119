import { hashBytes, tilePath, tileWidth } from '../../packages/fabric/src/ledger/tiles.ts'
import { Tree } from '../../packages/fabric/src/ledger/tree.ts'
import {
  parseCheckpoint,
  parseNote,
  parseReceipt,
  parseTlogProof,
  parseUtf8,
  toBase64,
} from '../../packages/protocol/src/index.ts'

/** Returns the bytes of a C2SP tlog-tiles resource of the log. */
export type ReadResource = (path: string) => Promise<Uint8Array | null>

/**
 * Every checkpoint that a log has let out, over all of its lives. A log that lost one may sign
 * another of the same size later, or leave that size out and go on as a fork: both are found.
 */
export class SeenHeads {
  /** Base64 roots, by size. */
  readonly #seen = new Map<number, string>()
  /** Of the published entries: the root at each size that the log has had. */
  readonly #tree = new Tree(() => Promise.reject(new Error('a tile was asked for')))
  readonly #roots: string[] = [toBase64(this.#tree.root())]

  get count(): number {
    return this.#seen.size
  }

  /** Throws when a head of this size and another root was seen. */
  see(checkpoint: string): void {
    const { size, root } = parseCheckpoint(parseNote(checkpoint).text)
    const known = this.#seen.get(size)
    if (known !== undefined && known !== toBase64(root)) {
      throw new Error(`two heads of size ${size} were signed`)
    }
    this.#seen.set(size, toBase64(root))
  }

  seeReceipt(receipt: Uint8Array): void {
    for (const { proof } of parseReceipt(receipt).entries)
      this.see(parseTlogProof(proof).checkpoint)
  }

  /**
   * Reads the published log on from where it was read before. Throws unless it leads through every
   * head that was seen, as an auditor would find who kept them all.
   */
  async follow(read: ReadResource): Promise<void> {
    const checkpoint = parseUtf8(await readAll(read, 'checkpoint'))
    this.see(checkpoint)
    const { size } = parseCheckpoint(parseNote(checkpoint).text)
    for (let tile = Math.floor(this.#tree.size / tileWidth); tile * tileWidth < size; tile++) {
      const first = tile * tileWidth
      const bytes = await readAll(read, tilePath(0, tile, Math.min(tileWidth, size - first)))
      for (let index = this.#tree.size; index < Math.min(first + tileWidth, size); index++) {
        const at = (index - first) * hashBytes
        this.#tree.append(bytes.subarray(at, at + hashBytes))
        this.#roots.push(toBase64(this.#tree.root()))
      }
      this.#tree.release(this.#tree.size)
    }
    for (const [seen, root] of this.#seen) {
      if (seen > size) throw new Error(`a head of size ${seen} was seen, and the log has ${size}`)
      if (this.#roots[seen] !== root) throw new Error(`the log has another root at size ${seen}`)
    }
  }
}

async function readAll(read: ReadResource, path: string): Promise<Uint8Array> {
  const bytes = await read(path)
  if (bytes === null) throw new Error(`${path} is missing`)
  return bytes
}
