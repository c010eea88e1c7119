import { factsMax, saltBytes } from '@countersign/protocol'
import type { Random } from '../lib/random.ts'
import type { DetailVault } from './details.ts'
import { encodeEntry } from './entry-encoding.ts'
import type { EntryDraft } from './ledger.ts'
import type { LoggedEntry } from './record.ts'
import type { StatedEntry } from './stated-entry.ts'
import type { Subject } from './subjects.ts'

export interface WrittenEntry extends LoggedEntry {
  readonly leafHash: Uint8Array
}

export interface LeafWriterParts {
  readonly vault: DetailVault
  readonly random: Random
  readonly detailBytesMax: number
}

/** One call into the generator for a few dozen entries: each call costs as much as two hashes. */
const randomPoolBytes = 16 * 1024

/** Turns drafts into leaves, in the order in which they will stand in the log. */
export class LeafWriter {
  readonly #parts: LeafWriterParts
  #pool: Uint8Array = new Uint8Array(0)

  constructor(parts: LeafWriterParts) {
    this.#parts = parts
  }

  /** Throws, with nothing written, on a draft that cannot be a leaf. */
  write(draft: EntryDraft, index: number, subjects: readonly Subject[] = []): WrittenEntry {
    const { detailBytesMax } = this.#parts
    const count = Object.keys(draft.facts).length
    if (count > factsMax) throw new RangeError('the entry has too many facts')
    const salts = this.#random(saltBytes * count)
    const { leaf, leafHash, detail } = encodeEntry(draft, salts)
    if (detail.length > detailBytesMax) throw new RangeError('the facts of the entry are too large')
    // The last step, which does not fail: a key that has encrypted is not used for another draft.
    return { leaf, leafHash, detail: this.#seal(index, detail, subjects) }
  }

  /** The leaf and the facts of a connector, as it encoded them. */
  writeStated(
    { leaf, leafHash, detail }: StatedEntry,
    index: number,
    subjects: readonly Subject[],
  ): WrittenEntry {
    return { leaf, leafHash, detail: this.#seal(index, detail, subjects) }
  }

  #seal(index: number, detail: Uint8Array, subjects: readonly Subject[]): Uint8Array {
    const sealed = this.#parts.vault.seal(index, detail, subjects)
    for (const subject of subjects) subject.sealed += 1
    return sealed
  }

  /** Fresh bytes, never given out twice. */
  #random(count: number): Uint8Array {
    if (this.#pool.length < count) this.#pool = this.#parts.random(randomPoolBytes)
    const taken = this.#pool.subarray(0, count)
    this.#pool = this.#pool.subarray(count)
    return taken
  }
}
