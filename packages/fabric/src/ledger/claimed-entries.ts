import { MalformedError, type MeshEntry } from '@countersign/protocol'
import type { Refusal } from '../lib/refusal.ts'
import type { Committed, EntryDraft } from './ledger.ts'
import { refusalOfEntry } from './refusals.ts'

/**
 * An entry as it is recorded: the fabric, not the connector, states the transport and the producer.
 */
export function recordedEntry(entry: MeshEntry, producer: string): MeshEntry {
  return { ...entry, facts: { ...entry.facts, transport: 'mesh', producer } }
}

export interface Claim {
  /** The entries that may be recorded; at least one, or there is one in `recorded`. */
  readonly admitted: ReadonlySet<MeshEntry | MalformedError>
  /**
   * Those that are on record already, word for word: their answer was lost. By index in the ledger.
   */
  readonly recorded: ReadonlyMap<MeshEntry | MalformedError, number>
  /** The limits that kept entries from being admitted. */
  readonly limits: ReadonlyMap<MeshEntry | MalformedError, string>
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
}

/** A claim that stands, with the time and the producer that the fabric states. */
export interface Claimed {
  readonly claim: Pick<Claim, 'admitted' | 'recorded' | 'limits'>
  readonly at: number
  readonly producer: string
}

/**
 * Records what was admitted, each entry by itself, so that exchanges of the others are not left
 * open when one meets a limit or cannot be written. The time is the fabric's: a connector cannot
 * write among the entries of last year.
 */
export async function recordClaimed(
  ledger: { append(draft: EntryDraft): Promise<Committed> },
  entries: readonly (MeshEntry | MalformedError)[],
  { claim, at: time, producer }: Claimed,
): Promise<Appended> {
  const failures: AppendFailure[] = []
  const limits: (string | null)[] = entries.map((entry) => claim.limits.get(entry) ?? null)
  const append = async (entry: MeshEntry | MalformedError, at: number): Promise<number | null> => {
    const known = claim.recorded.get(entry)
    if (known !== undefined) return known
    if (entry instanceof MalformedError || !claim.admitted.has(entry)) return null
    try {
      return (await ledger.append({ ...recordedEntry(entry, producer), at: time })).index
    } catch (cause) {
      const refusal = refusalOfEntry(cause)
      failures.push({ cause, refusal })
      limits[at] = refusal?.limit ?? null
      return null
    }
  }
  const indexes = await Promise.all(entries.map(append))
  return { indexes, limits, failure: failures[0] ?? null }
}
