import { toHex } from '@countersign/protocol'
import { referencesOf } from './details.ts'
import type { SaltedFact } from './facts.ts'
import { LedgerDamage } from './store.ts'

/**
 * Compares the entries that name erased subjects with the erasures on record: a holder of the disk
 * could put the reference of one into the detail of any entry, which nothing else covers.
 */
export class ErasureCheck {
  /** Entries so far, by the reference of a subject, pruned ones included. */
  readonly #counts: Map<string, number>
  readonly #erased = new Set<string>()

  constructor(pruned: ReadonlyMap<string, number>) {
    this.#counts = new Map(pruned)
  }

  /** Entries come in order. */
  see(index: number, detail: Uint8Array): void {
    for (const bytes of referencesOf(index, detail)) {
      const reference = toHex(bytes)
      if (this.#erased.has(reference)) {
        throw new LedgerDamage(`entry ${index} names a subject that was erased before it`)
      }
      this.#counts.set(reference, (this.#counts.get(reference) ?? 0) + 1)
    }
  }

  /** The facts of an entry of kind `erasure`. A crash may have left two of one subject. */
  state(index: number, facts: readonly SaltedFact[]): void {
    const valueOf = (name: string) => facts.find((fact) => fact.name === name)?.value
    const [bytes, entries] = [valueOf('reference'), valueOf('entries')]
    if (!(bytes instanceof Uint8Array) || typeof entries !== 'number') {
      throw new LedgerDamage(`the erasure of entry ${index} does not name its subject`)
    }
    const reference = toHex(bytes)
    const count = this.#counts.get(reference) ?? 0
    if (count !== entries) {
      const stated = `entry ${index} states the erasure of ${entries} entries`
      throw new LedgerDamage(`${stated}, and ${count} before it name that subject`)
    }
    this.#erased.add(reference)
  }
}
