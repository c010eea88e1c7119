import type { Refusal } from '../lib/refusal.ts'
import type { AcceptedBatch } from './batch-intake.ts'
import type { CommittedBatch, Ledger } from './ledger.ts'
import { refusalOfEntry } from './refusals.ts'
import { isUnread, type ReceivedEntry, type StatedEntry } from './stated-entry.ts'

export interface Claim {
  /** The entries that may be recorded; at least one, or there is one in `recorded`. */
  readonly admitted: ReadonlySet<ReceivedEntry>
  /**
   * Those that are on record already, word for word: their answer was lost. By index in the ledger.
   */
  readonly recorded: ReadonlyMap<ReceivedEntry, number>
  /** The limits that kept entries from being admitted. */
  readonly limits: ReadonlyMap<ReceivedEntry, string>
  /** Of the first entry that was not admitted. */
  readonly refusal: Refusal | null
  /** Called once the admitted entries are durable, or will never be. */
  release(): void
}

interface AppendFailure {
  readonly cause: unknown
  /** Null if the ledger could not give a reason. */
  readonly refusal: Refusal | null
}

export interface Appended {
  /** By position of the entry; null for one that was not recorded. */
  readonly indexes: readonly (number | null)[]
  /**
   * By position: the limit that stopped an entry, so that its connector can name it to its caller.
   */
  readonly limits: readonly (string | null)[]
  readonly failure: AppendFailure | null
  /** Null where no entry was taken, and so none about the batch. */
  readonly committed: CommittedBatch | null
}

/** A claim that stands, with the time of the fabric. */
export interface Claimed {
  readonly claim: Pick<Claim, 'admitted' | 'recorded' | 'limits'>
  readonly at: number
}

/**
 * Records what was admitted, so that exchanges of the others are not left open when one meets a
 * limit or cannot be written.
 */
export async function recordClaimed(
  ledger: Pick<Ledger, 'appendBatch'>,
  batch: Pick<AcceptedBatch, 'entries' | 'entryAbout'>,
  { claim, at: time }: Claimed,
): Promise<Appended> {
  const { entries } = batch
  const limits: (string | null)[] = entries.map((entry) => claim.limits.get(entry) ?? null)
  const admitted = entries.filter(
    (entry): entry is StatedEntry => !isUnread(entry) && claim.admitted.has(entry),
  )
  const committed =
    admitted.length === 0
      ? null
      : await ledger.appendBatch(admitted, (isTaken) => batch.entryAbout(isTaken, time))
  const failures: AppendFailure[] = []
  let next = 0
  const indexes = entries.map((entry, at): number | null => {
    if (isUnread(entry) || !claim.admitted.has(entry)) return claim.recorded.get(entry) ?? null
    const one = committed?.entries[next++]
    if (one === undefined) return null
    if ('index' in one) return one.index
    const refusal = refusalOfEntry(one.cause)
    failures.push({ cause: one.cause, refusal })
    limits[at] = refusal?.limit ?? null
    return null
  })
  return { indexes, limits, failure: failures[0] ?? null, committed }
}
