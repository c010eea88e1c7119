import type { Clock } from '../../lib/clock.ts'
import { RecordCache } from '../../state/record-cache.ts'
import {
  idOfKey,
  type RecordBounds,
  type RecordCollection,
  type RecordStore,
  recordKey,
} from '../../state/record-store.ts'
import {
  addKnown,
  foldedId,
  type IdFilter,
  idLengthMax,
  knownLengthMin,
  removeKnown,
} from '../reading/known-ids.ts'

export interface OwnedIdsOptions {
  readonly store: RecordStore
  readonly collection: Extract<RecordCollection, 'task' | 'event'>
  readonly clock: Pick<Clock, 'monotonic'>
  /** An id that is in use is kept for longer. */
  readonly lifetimeMs: number
  /** Ids of any receiver are in it for as long as they are remembered, without their kind. */
  readonly known?: IdFilter
  /** Those of the collection, except in tests. */
  readonly bounds?: RecordBounds
}

/**
 * The caller that an id of a receiver belongs to: a task, a conversation, an event of a stream. The
 * first caller keeps it, whichever process it came through: the claim is a record that is written
 * once. Each caller has a share of its own, whose oldest id is forgotten first; in all, the caller
 * that holds the most loses one. A forgotten id does not belong to any caller. Long ids are one in
 * whatever case they are written, with hyphens or without.
 */
export class OwnedIds {
  readonly #records: RecordCache

  constructor({ known, ...options }: OwnedIdsOptions) {
    const idOf = (key: string): string => withoutKind(idOfKey(key))
    this.#records = new RecordCache({
      ...options,
      // An owner never changes.
      freshMs: Number.POSITIVE_INFINITY,
      onAdd: (key) => {
        if (known !== undefined) addKnown(known, idOf(key))
      },
      onForget: (key) => {
        if (known !== undefined) removeKnown(known, idOf(key))
      },
    })
  }

  /** Returns the owner that memory holds: null also for an id that another process just claimed. */
  find(receiver: string, id: string): string | null {
    return this.findKey(receiver, idKey(id))
  }

  /** As `find`, of an id that `idKey` has folded: where there are many, a thread has done so. */
  findKey(receiver: string, key: string): string | null {
    return isKept(key) ? this.#records.held(recordKey(receiver, key)) : null
  }

  /**
   * Returns the owners of ids that `idKey` has folded, by id, as the store has them now. Those that
   * memory holds cost nothing. Rejects when the store cannot be read.
   */
  async read(receiver: string, keys: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const records = new Map(
      keys.filter(isKept).map((key) => [recordKey(receiver, key), key] as const),
    )
    const found = await this.#records.findEach([...records.keys()])
    return new Map([...found].map(([record, owner]) => [records.get(record) ?? '', owner]))
  }

  /** Resolves when every id has an owner on record: `owner`, or a caller that was first. */
  async claim(receiver: string, ids: readonly string[], owner: string): Promise<void> {
    const account = recordKey(receiver, owner)
    const keys = ids.filter((id) => id !== '' && isKept(id)).map(idKey)
    await Promise.all(
      keys.map((key) => this.#records.claim(recordKey(receiver, key), owner, account)),
    )
  }

  follow(): Promise<void> {
    return this.#records.follow()
  }

  current(): Promise<void> | null {
    return this.#records.current()
  }

  close(): void {
    this.#records.close()
  }
}

/** An id may be as long as its message. */
function isKept(id: string): boolean {
  return id.length - (kind.exec(id)?.[0].length ?? 0) <= idLengthMax
}

const kind = /^(?:task|context|event) /

/**
 * An id, with its kind before it or without, as it is kept and compared. One that is longer than
 * any that is remembered stays as it is: there is nothing to compare it with. Hyphens do not count.
 */
export function idKey(id: string): string {
  const of = kind.exec(id)?.[0] ?? ''
  const given = of === '' ? id : id.slice(of.length)
  const bare = given.includes('-') ? given.replaceAll('-', '') : given
  if (bare.length < knownLengthMin) return given.length > idLengthMax ? id : of + foldedId(given)
  if (bare.length > idLengthMax) return id
  // The same as `foldedId`, of which it takes a tenth: nearly all ids are of that kind.
  return of + (ascii.test(bare) ? bare.toLowerCase() : foldedId(bare))
}

const ascii = /^[\x20-\x7e]*$/

const withoutKind = (key: string): string => key.replace(kind, '')
