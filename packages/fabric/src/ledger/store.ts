/** A signed tree head. */
export interface StoredHead {
  /** Leaves of the tree; 0 before the genesis entry. */
  readonly size: number
  /** Unix milliseconds when it was signed. */
  readonly at: number
  /** The signed note (C2SP tlog-checkpoint); empty at size 0. */
  readonly checkpoint: string
}

export interface LoadedHead {
  readonly head: StoredHead
  /**
   * False when one copy of two is unreadable. Only a crash while a commit wrote its head explains
   * that, and its record is durable before, so it is damage wherever no record lies beyond the
   * head.
   */
  readonly intact: boolean
}

/**
 * The store of the head that the log must never fall behind: no checkpoint of a larger size has
 * left the process. Best on another disk than the rest.
 */
export interface HeadStore {
  /**
   * The newest head, durable from here on, or null where none was ever stored. Rejects when no copy
   * is readable.
   */
  load(): Promise<LoadedHead | null>
  /**
   * Begins anew with `next`, which is durable on resolve even where the system lost what it still
   * shows, as after a failed sync. A crash leaves everything as it was, or `next`. Rejects, with
   * nothing changed, when the newest head is not of `previousSize` (null: none was ever stored): a
   * second writer is at work.
   */
  replace(previousSize: number | null, next: StoredHead): Promise<void>
  /**
   * On resolve, the head of every commit that resolved before the call is durable, or a larger one
   * in its place. At any time, a crash leaves the head that was durable last, or a larger one.
   */
  sync(): Promise<void>
}

export interface WalRecord {
  readonly firstIndex: number
  readonly body: Uint8Array
}

/** Entries on their way into tiles. One caller at a time. */
export interface WriteAheadLog {
  /**
   * Every whole record, oldest first. Stops at a torn tail, which was never acknowledged; rejects
   * on damage anywhere else.
   */
  replay(visit: (record: WalRecord) => void): Promise<void>
  /**
   * On resolve, what `replay` shows is durable, even where the process that wrote it died before
   * its sync, or the sync failed and the system still shows what it has lost. A crash leaves every
   * record as it was.
   */
  rewrite(): Promise<void>
  /** May forget records whose entries all lie below `size`. */
  trim(size: number): Promise<void>
  /** Forgets every record and any torn tail. */
  reset(): Promise<void>
}

/** The file of the subjects of one log (docs/decisions/0018, "Subjects"). One caller at a time. */
export interface SubjectStore {
  /** All of it, or null where there is none. */
  read(): Promise<Uint8Array | null>
  /** Writes in place, or at the end; lost by a crash until `sync` resolves, whole or in part. */
  write(position: number, bytes: Uint8Array): Promise<void>
  sync(): Promise<void>
  /** Begins anew. On resolve `bytes` are durable; a crash leaves the file as it was, or these. */
  replace(bytes: Uint8Array): Promise<void>
}

/** One group of entries with the head that covers them. */
export interface LedgerCommit {
  readonly firstIndex: number
  readonly count: number
  /** The record of the write-ahead log, in parts. */
  readonly body: readonly Uint8Array[]
  /** Of the head that `head` replaces. */
  readonly previousSize: number
  readonly head: StoredHead
  /**
   * The fencing token of the writer. A store that several hosts reach refuses a commit with a
   * smaller token than one it has taken; one behind a lock of the host need not look at it.
   */
  readonly fence: number
}

export interface Resource {
  /** Relative, with slashes: `checkpoint`, `tile/…`, `detail/…`, `index/…`. */
  readonly path: string
  readonly bytes: Uint8Array
}

/** The file, or other thing, that has the name of a resource. */
export interface ResourceStat {
  /** `other` for a link, a pipe, a socket or a device. */
  readonly kind: 'file' | 'folder' | 'other'
  readonly bytes: number
}

/** Whole files by name. */
export interface ResourceStore {
  read(path: string): Promise<Uint8Array | null>
  /** Up to `length` bytes from `position`, or null if the file does not exist. */
  readPart(path: string, position: number, length: number): Promise<Uint8Array | null>
  /**
   * Writes all, replacing what was there. On resolve all are durable. A crash leaves any of them
   * old, new or absent, but none in part.
   */
  write(resources: readonly Resource[]): Promise<void>
  /** Removes files, and directories that became empty. Not durable: they may come back. */
  remove(paths: readonly string[]): Promise<void>
  /** Never follows a link. Null where there is nothing of that name. */
  stat(path: string): Promise<ResourceStat | null>
  /** The names directly below `directory`, in no order. */
  list(directory: string): Promise<readonly string[]>
}

/** All of one ledger. Holds the exclusive lock from opening until `close`. */
export interface LedgerStore {
  readonly heads: HeadStore
  readonly wal: WriteAheadLog
  readonly resources: ResourceStore
  readonly subjects: SubjectStore
  /**
   * Appends the record to the write-ahead log, and writes the head once the record is durable: on
   * resolve, the record is durable and the head is not, until `heads.sync`. A crash leaves neither,
   * a torn record that `replay` leaves out, the record without its head, or both; never the head
   * without its record. One caller at a time; after a rejection the outcome is unknown.
   */
  commit(commit: LedgerCommit): Promise<void>
  /** On the fullest of the volumes. */
  freeBytes(): Promise<number>
  close(): Promise<void>
}

/**
 * The stored state contradicts itself, or the head that was promised. Nothing is repaired silently.
 */
export class LedgerDamage extends Error {
  override readonly name = 'LedgerDamage'
}
