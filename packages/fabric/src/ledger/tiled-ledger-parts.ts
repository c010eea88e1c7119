import type { Clock } from '../lib/clock.ts'
import type { Lease } from '../state/lease.ts'
import type { CheckpointKey } from './checkpoint.ts'
import type { Cosigning } from './cosigning.ts'
import type { DetailVault } from './details.ts'
import type { EntryReader } from './entry-reader.ts'
import type { ExchangeIndex } from './exchange-index.ts'
import type { LeafWriter } from './leaf-writer.ts'
import type { LedgerLimits } from './limits.ts'
import type { PrunedPart } from './pruned-part.ts'
import type { ReadTurns } from './read-turns.ts'
import type { Recovered } from './recovery.ts'
import type { RetentionPolicy } from './retention-policy.ts'
import type { SpaceGuard } from './space-guard.ts'
import type { LedgerStore } from './store.ts'
import type { Subjects } from './subjects.ts'
import type { TermIndex } from './term-index.ts'
import type { GroupIndex } from './tile-groups.ts'

/** The parts of an open ledger, which `openLedger` makes. */
export interface TiledLedgerParts {
  readonly store: LedgerStore
  readonly lease: Lease
  readonly origin: string
  readonly key: CheckpointKey
  readonly cosigning: Cosigning
  readonly vault: DetailVault
  readonly subjects: Subjects
  readonly limits: LedgerLimits
  readonly clock: Clock
  readonly index: ExchangeIndex
  readonly groups: GroupIndex
  readonly terms: TermIndex
  readonly turns: ReadTurns
  readonly reader: EntryReader
  readonly writer: LeafWriter
  readonly recovered: Recovered
  readonly space: SpaceGuard
  readonly pruned: PrunedPart
  readonly retention: RetentionPolicy | null
  /** For an entry of the ledger's own. */
  readonly newId: () => string
  readonly log: (event: string, facts: Readonly<Record<string, string | number>>) => void
  readonly onFatal: (cause: unknown) => void
}
