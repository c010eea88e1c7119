import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { toHex } from '@countersign/protocol'
import type { Clock } from '../lib/clock.ts'
import { countEntries } from './count-entries.ts'
import type { EntryDraft, Erased, Erasure } from './ledger.ts'
import type { OpenIntentTable } from './open-intents.ts'
import type { PrunedPart } from './pruned-part.ts'
import type { Pace } from './read-turns.ts'
import type { LedgerStore } from './store.ts'
import type { Subject, Subjects } from './subjects.ts'
import type { Window } from './window.ts'

export interface ErasingParts {
  readonly subjects: Subjects
  readonly intents: OpenIntentTable
  readonly store: Pick<LedgerStore, 'resources'>
  readonly window: Window
  readonly pruned: PrunedPart
  readonly clock: Clock
  newId(): string
  /** Acknowledged entries. */
  size(): number
  /** The index of the next entry, which may have others on their way to the disk before it. */
  nextIndex(): number
  /** Appends what `make` returns, at the index that is the next one when it is called. */
  record(make: () => EntryDraft): Promise<unknown>
  /** Throws once nothing that is known here can be trusted any more. */
  assertServing(): void
}

/** Between two looks at what an erasure waits for. */
const commitPauseMs = 2

/** Erases subjects: the number of their entries is on record before their keys are destroyed. */
export class Erasing {
  readonly #parts: ErasingParts

  constructor(parts: ErasingParts) {
    this.#parts = parts
  }

  async count(isSubject: (name: string) => boolean, pace: Pace): Promise<number> {
    const subjects = this.#parts.subjects.all().filter(({ name }) => isSubject(name))
    const counts = await this.#countEntries(subjects, this.#parts.size(), pace)
    return [...counts.values()].reduce((sum, count) => sum + count, 0)
  }

  async erase({ exchange, isSubject }: Erasure): Promise<Erased> {
    const { subjects, intents, nextIndex, size, assertServing } = this.#parts
    assertServing()
    const leaving = await subjects.retire(exchange, isSubject)
    const underWay = intents.countOf(leaving)
    if (underWay > 0) return { entries: 0, underWay }
    for (const subject of leaving) subject.sealed = 0
    const end = nextIndex()
    // Behind what is on its way to the disk, so that the number is exact.
    while (size() < end) {
      await sleep(commitPauseMs)
      assertServing()
    }
    // Before anything else is read: requests of before the start wait for it.
    const counts = await this.#countEntries(leaving, end, () => setImmediate())
    let entries = 0
    for (const subject of leaving) {
      // A check of the log knows the pruned ones as well.
      const pruned = this.#parts.pruned.state.counts.get(toHex(subject.reference)) ?? 0
      entries += await this.#record(exchange, subject, pruned + (counts.get(subject) ?? 0))
    }
    await subjects.erase(exchange)
    return { entries, underWay: 0 }
  }

  async #record(operation: string, subject: Subject, counted: number): Promise<number> {
    const { newId, clock, record } = this.#parts
    const { reference } = subject
    let entries = counted
    await record(() => {
      entries = counted + subject.sealed
      const facts = { event: 'subject-erased', reference, entries, 'changed-by': operation }
      return { kind: 'erasure', exchange: newId(), at: clock.now(), facts }
    })
    return entries
  }

  #countEntries(subjects: readonly Subject[], size: number, pace: Pace) {
    const { store, window, pruned, assertServing } = this.#parts
    const { resources } = store
    return countEntries(subjects, { resources, window, pruned, size, pace, assertServing })
  }
}
