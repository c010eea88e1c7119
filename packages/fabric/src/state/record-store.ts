/** Bounds of a collection: records in all, and for each owner of records. */
export interface RecordBounds {
  readonly countMax: number
  readonly perOwnerMax: number
}

/**
 * The collections, each with its bounds. `task`, `event` and `mcp-session` name the caller that an
 * id of a receiver belongs to, and their owners are callers at a receiver. `mcp-endpoint` names the
 * endpoint of a receiver that opened a session, and its owners are receivers. `approval` is the
 * state of a request for approval, and its owners are callers at a receiver.
 */
export const RECORD_BOUNDS = {
  task: { countMax: 200_000, perOwnerMax: 10_000 },
  event: { countMax: 200_000, perOwnerMax: 2_000 },
  'mcp-session': { countMax: 100_000, perOwnerMax: 10_000 },
  'mcp-endpoint': { countMax: 100_000, perOwnerMax: 100_000 },
  approval: { countMax: 100_000, perOwnerMax: 1_000 },
} as const satisfies Readonly<Record<string, RecordBounds>>

export type RecordCollection = keyof typeof RECORD_BOUNDS

/** Bounds by collection: `RECORD_BOUNDS`, except in tests. */
export type BoundsOfRecords = Readonly<Record<RecordCollection, RecordBounds>>

export const RECORD_COLLECTIONS: readonly RecordCollection[] = Object.keys(
  RECORD_BOUNDS,
) as RecordCollection[]

export interface StoredRecord {
  readonly value: string
  /** The account that it counts on. */
  readonly owner: string
  /** Milliseconds until it expires, by the clock of the store. Positive. */
  readonly leftMs: number
}

export interface AddedRecord extends StoredRecord {
  readonly key: string
  /** The place of the key among all that were added to the collection. */
  readonly sequence: number
}

export interface RecordPut {
  /** The account that a new record counts on. A record that exists stays on its own. */
  readonly owner: string
  /** From now on, by the clock of the store. */
  readonly lifetimeMs: number
  /**
   * If given, nothing is written unless the record has this value now; null: unless it is absent.
   */
  readonly expected?: string | null
  /** The record survives a loss of power as well, on every engine. */
  readonly durable?: boolean
}

/**
 * Keyed records that expire: they belong to one exchange, session or task, and change with traffic.
 * Several processes, or several openings in one process, may use one store.
 *
 * An expired record is absent for every function from that moment on, by the clock of the store.
 * Keys, values and owners are well-formed text without U+0000, see `assertRecord`.
 *
 * Beyond `perOwnerMax`, a new record takes the place of the oldest of its owner. Beyond `countMax`,
 * it takes the place of the oldest record of the owner that has the most, so that no owner can push
 * out records of another that has fewer. The oldest is the one that was added first.
 *
 * Every function rejects when the store cannot be read or written. A rejected `put` or `remove` may
 * have been carried out.
 */
export interface RecordStore {
  find(collection: RecordCollection, key: string): Promise<StoredRecord | null>
  /** Returns those that exist, by key. At most `findEachMax` keys. */
  findEach(
    collection: RecordCollection,
    keys: readonly string[],
  ): Promise<ReadonlyMap<string, StoredRecord>>
  /**
   * Adds or replaces a record. Resolves, when every later read by any process finds it, to true;
   * to false, with nothing written, when the expectation failed. It survives a crash of the
   * process, and a loss of power only where the engine promises it.
   */
  put(
    collection: RecordCollection,
    key: string,
    value: string,
    options: RecordPut,
  ): Promise<boolean>
  /** Resolves to false, with nothing removed, when it is absent or has another value. */
  remove(collection: RecordCollection, key: string, expected?: string): Promise<boolean>
  /**
   * Returns up to `max` records whose sequence is above `after`, in the order of their sequence: of
   * each key that was added. Sequences are in commit order: once a reader has seen one, no record
   * with a lower one becomes visible later.
   */
  added(collection: RecordCollection, after: number, max: number): Promise<readonly AddedRecord[]>
  /** Deletes up to `sweepMax` expired records; resolves to the number of those deleted. */
  sweep(): Promise<number>
  close(): Promise<void>
}

export const findEachMax = 1_024
export const sweepMax = 1_000
export const recordKeyLengthMax = 4_096
export const recordValueLengthMax = 16_384

/**
 * Returns one key for an id of a space, such as a receiver. The name of a space has no line break,
 * and an id may be any text: one that engines would store differently is escaped.
 */
export function recordKey(space: string, id: string): string {
  const isPlain = id[0] !== '"' && !id.includes('\0') && id.isWellFormed()
  return `${space}\n${isPlain ? id : JSON.stringify(id)}`
}

/** Returns the id of which `recordKey` made the key. */
export function idOfKey(key: string): string {
  const id = key.slice(key.indexOf('\n') + 1)
  return id.startsWith('"') ? (JSON.parse(id) as string) : id
}

/** Returns the client on whose share a write waits: the account, or the space of the key. */
export function clientOf({
  key,
  owner,
}: {
  readonly key: string
  readonly owner?: string
}): string {
  return owner ?? key.slice(0, key.indexOf('\n') + 1)
}

/** A write that finds no room is refused, and has no effect. */
export function tooManyWrites(max: number): Error {
  return new Error(`of ${max} writes of records that may wait, too many do`)
}

/** Throws for what engines store differently or not at all, before anything is written. */
export function assertRecord(key: string, value: string, owner: string): void {
  if (key.length > recordKeyLengthMax || owner.length > recordKeyLengthMax) {
    throw new RangeError(`the key or owner of a record is above ${recordKeyLengthMax} characters`)
  }
  if (value.length > recordValueLengthMax) {
    throw new RangeError(`the value of a record is above ${recordValueLengthMax} characters`)
  }
  for (const text of [key, value, owner]) {
    if (text.includes('\0') || !text.isWellFormed()) {
      throw new TypeError('a key or value of a record is not well-formed text without U+0000')
    }
  }
}
