/** Every bound of the room. Tests make them small; operators have no reason to change most. */
export interface LedgerLimits {
  /** Entries and bytes of one write-ahead record: what one group shares its two syncs with. */
  readonly groupEntriesMax: number
  readonly groupBytesMax: number
  /** Appends that wait for their group; more are refused at once. */
  readonly queueEntriesMax: number
  /** Acknowledged but in no tile yet. Appends wait at this bound: it is also what start-up replays. */
  readonly unpublishedBytesMax: number
  /** Recent entries kept for receipts after they are in tiles. */
  readonly windowBytesMax: number
  /** A checkpoint appears this long after the first entry that it covers, or after so many entries. */
  readonly publishDelayMs: number
  readonly publishEntries: number
  /** Facts with salts of one entry, encoded: a bundle holds 256 of them. */
  readonly detailBytesMax: number
  /** Below this much free space appends are refused, long before a write could fail. */
  readonly freeBytesMin: number
  /** How far the clock may be behind the last signed head at start. */
  readonly clockBehindMaxMs: number
  /** Entries of one file of the exchange index; what start-up reads at most to complete it. */
  readonly segmentEntries: number
}

export const ledgerLimits: LedgerLimits = {
  groupEntriesMax: 1024,
  groupBytesMax: 4 * 1024 * 1024,
  queueEntriesMax: 16_384,
  unpublishedBytesMax: 32 * 1024 * 1024,
  windowBytesMax: 4 * 1024 * 1024,
  publishDelayMs: 250,
  publishEntries: 4096,
  detailBytesMax: 512 * 1024,
  freeBytesMin: 256 * 1024 * 1024,
  clockBehindMaxMs: 60_000,
  segmentEntries: 16_384,
}
