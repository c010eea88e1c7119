import type { Clock } from '../../lib/clock.ts'
import {
  type AddedRecord,
  assertRecord,
  type BoundsOfRecords,
  RECORD_BOUNDS,
  RECORD_COLLECTIONS,
  type RecordCollection,
  type RecordStore,
  type StoredRecord,
  sweepMax,
} from '../../state/record-store.ts'
import { RecordTable } from '../../state/record-table.ts'

/** Expired records are deleted faster than new ones come, also if `sweep` is not called. */
const sweepPerPut = 2

interface MemoryRecordStoreOptions {
  readonly clock: Pick<Clock, 'now'>
  readonly bounds?: BoundsOfRecords
}

/** For one process whose records may end with it. */
export function memoryRecordStore({
  clock,
  bounds = RECORD_BOUNDS,
}: MemoryRecordStoreOptions): RecordStore {
  const collections = new Map(
    RECORD_COLLECTIONS.map((name) => [name, new MemoryCollection(bounds[name])]),
  )
  const of = (name: RecordCollection): MemoryCollection => {
    const found = collections.get(name)
    if (found === undefined) throw new RangeError(`no collection of records is named ${name}`)
    return found
  }
  return {
    find: async (name, key) => of(name).find(key, clock.now()),
    async findEach(name, keys) {
      const now = clock.now()
      const found = keys.map((key) => [key, of(name).find(key, now)] as const)
      return new Map(found.flatMap(([key, record]) => (record === null ? [] : [[key, record]])))
    },
    async put(name, key, value, { owner, lifetimeMs, expected }) {
      assertRecord(key, value, owner)
      const now = clock.now()
      const present = of(name).table.find(key, now)?.value ?? null
      if (expected !== undefined && expected !== present) return false
      of(name).put({ key, owner, value, expiresAt: now + lifetimeMs })
      of(name).table.sweep(now, sweepPerPut)
      return true
    },
    async remove(name, key, expected) {
      const present = of(name).table.find(key, clock.now())?.value
      if (present === undefined || (expected ?? present) !== present) return false
      return of(name).table.delete(key)
    },
    added: async (name, after, max) => of(name).added({ after, max, now: clock.now() }),
    async sweep() {
      const perCollection = Math.ceil(sweepMax / collections.size)
      const swept = [...collections.values()].map(({ table }) =>
        table.sweep(clock.now(), perCollection),
      )
      return swept.reduce((sum, count) => sum + count, 0)
    },
    close: async () => undefined,
  }
}

class MemoryCollection {
  readonly table: RecordTable<string>
  readonly #sequences = new Map<string, number>()
  #last = 0

  constructor(bounds: BoundsOfRecords[RecordCollection]) {
    this.table = new RecordTable(bounds, (key) => this.#sequences.delete(key))
  }

  find(key: string, now: number): StoredRecord | null {
    const row = this.table.find(key, now)
    if (row === null) return null
    const { value, owner, expiresAt } = row
    return { value, owner, leftMs: expiresAt - now }
  }

  put(row: Parameters<RecordTable<string>['put']>[0]): void {
    if (this.table.put(row)) this.#sequences.set(row.key, ++this.#last)
  }

  added({
    after,
    max,
    now,
  }: {
    readonly after: number
    readonly max: number
    readonly now: number
  }): readonly AddedRecord[] {
    const found: AddedRecord[] = []
    // Readers ask often, and mostly nothing was added.
    if (after >= this.#last) return found
    for (const { key, owner, value, expiresAt } of this.table.values()) {
      const sequence = this.#sequences.get(key) ?? 0
      if (sequence <= after || expiresAt <= now) continue
      found.push({ key, owner, value, leftMs: expiresAt - now, sequence })
      if (found.length === max) break
    }
    return found
  }
}
