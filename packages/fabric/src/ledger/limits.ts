/**
 * Every bound of the ledger module. Tests make them small; operators have no reason to change most.
 */
export interface LedgerLimits {
  /** Entries and bytes of one write-ahead record: what one group shares its sync with. */
  readonly groupEntriesMax: number
  readonly groupBytesMax: number
  /** Entries and bytes that wait for their group. Further callers wait until there is room. */
  readonly queueEntriesMax: number
  readonly queueBytesMax: number
  /**
   * Callers that wait for room in the queue, and how long each does. Beyond it they are refused.
   */
  readonly waitingEntriesMax: number
  readonly waitMsMax: number
  /** Exchanges under way: what the next start would have to close. In total, and for one owner. */
  readonly openIntentsMax: number
  readonly openIntentsPerOwnerMax: number
  /** An exchange that is open for longer is closed as indeterminate. */
  readonly openIntentMs: number
  /**
   * Acknowledged but in no tile yet. Appends wait at this bound: it is also what start-up replays.
   */
  readonly unpublishedBytesMax: number
  /** Recent entries kept for receipts after they are in tiles. */
  readonly windowBytesMax: number
  /**
   * A checkpoint appears this long after the first entry that it covers, or after so many entries.
   */
  readonly publishDelayMs: number
  readonly publishEntries: number
  /**
   * While fewer than `publishSoonEntries` wait, a round begins this long after the one before. Each
   * writes the last tile of every kind again: at a few hundred entries a second, these are most of
   * what it writes.
   */
  readonly publishPauseMs: number
  readonly publishSoonEntries: number
  /**
   * The sync of a head begins this long after its commit, unless a receipt or the publication asks
   * for it before: that of a commit which no client asks about.
   */
  readonly headSyncMs: number
  /** Facts with salts of one entry, encoded: a bundle holds 256 of them. */
  readonly detailBytesMax: number
  /** Below this much free space nothing begins any more, long before a write could fail. */
  readonly freeBytesMin: number
  /** Below this much nothing is read for an operator, and no certificate renewed. */
  readonly freeBytesRead: number
  /** Kept for administration and for what closes exchanges; below this much nothing is taken. */
  readonly freeBytesReserve: number
  /** Below this much the operator is warned, while entries are still taken. */
  readonly freeBytesWarn: number
  /** Maximum time that the clock may be behind the last signed head at start. */
  readonly clockBehindMaxMs: number
  /** Entries of one file of the exchange index; what start-up reads at most to complete it. */
  readonly segmentEntries: number
  /**
   * Entries and bytes of one answer to a reader. A list also ends after this many entries were
   * opened for it, and the next page goes on.
   */
  readonly readEntriesMax: number
  readonly readBytesMax: number
  readonly readOpenedMax: number
  /** Segments of the term index that one answer is looked for in. */
  readonly readSegmentsMax: number
  /** Entries of one file of the term index. */
  readonly termSegmentEntries: number
  /** Reads and searches that are under way. In total, and for one reader. */
  readonly readsMax: number
  readonly readsPerOwnerMax: number
  /** Readers that follow the log. In total, and for one of them. */
  readonly followersMax: number
  readonly followersPerOwnerMax: number
  /** Entries and bytes that are held for one follower until it has taken them. */
  readonly followEntries: number
  readonly followBytes: number
  /**
   * Principals that the entries of one log name, as long as they are not erased. In total, and for
   * one issuer, which could make them up: an OpenID Connect issuer, or the trust domain itself.
   */
  readonly subjectsMax: number
  readonly subjectsPerIssuerMax: number
  /**
   * Entries that are pruned together: whole tiles, and whole segments of both indexes. One pruning
   * removes `pruneUnitsMax` of them at most.
   */
  readonly pruneEntries: number
  readonly pruneUnitsMax: number
  /** Between two rounds of pruning, and after one that left some to the next. */
  readonly pruneEveryMs: number
  readonly pruneSoonMs: number
  /** Principals of one log that were erased: 16 bytes each, for the difference from damage. */
  readonly erasedSubjectsMax: number
}

export const ledgerLimits: LedgerLimits = {
  groupEntriesMax: 1024,
  groupBytesMax: 4 * 1024 * 1024,
  queueEntriesMax: 16_384,
  queueBytesMax: 64 * 1024 * 1024,
  waitingEntriesMax: 16_384,
  waitMsMax: 5_000,
  openIntentsMax: 65_536,
  openIntentsPerOwnerMax: 8_192,
  openIntentMs: 2 * 3_600_000,
  unpublishedBytesMax: 32 * 1024 * 1024,
  windowBytesMax: 4 * 1024 * 1024,
  publishDelayMs: 250,
  publishEntries: 4096,
  publishPauseMs: 1_000,
  publishSoonEntries: 512,
  headSyncMs: 500,
  detailBytesMax: 512 * 1024,
  freeBytesMin: 256 * 1024 * 1024,
  freeBytesRead: 128 * 1024 * 1024,
  freeBytesReserve: 32 * 1024 * 1024,
  freeBytesWarn: 1024 * 1024 * 1024,
  clockBehindMaxMs: 60_000,
  segmentEntries: 16_384,
  readEntriesMax: 1_000,
  readBytesMax: 4 * 1024 * 1024,
  readOpenedMax: 4_096,
  readSegmentsMax: 32,
  termSegmentEntries: 65_536,
  readsMax: 128,
  readsPerOwnerMax: 32,
  followersMax: 128,
  followersPerOwnerMax: 32,
  followEntries: 64,
  followBytes: 1024 * 1024,
  subjectsMax: 131_072,
  subjectsPerIssuerMax: 65_536,
  pruneEntries: 65_536,
  pruneUnitsMax: 16,
  pruneEveryMs: 3_600_000,
  pruneSoonMs: 60_000,
  erasedSubjectsMax: 262_144,
}
