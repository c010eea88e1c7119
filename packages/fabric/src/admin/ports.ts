import type {
  ActivityArgs,
  ActivityView,
  ApprovalView,
  BackupMade,
  ChannelChange,
  ChannelView,
  CreatedKey,
  DeadLetterView,
  DecidedApproval,
  EnrollArgs,
  ErasureView,
  FabricStatus,
  Invitation,
  KeyCreateArgs,
  KeyView,
  PoliciesView,
  PolicyExplanation,
  PolicyPut,
  PruneView,
  RetentionView,
  RouteSettings,
  RouteView,
  SubjectView,
} from '@countersign/protocol'
import type { Signal } from '../detection/detector.ts'
import type { Caller } from '../identity/caller.ts'
import type { AgentRecord } from '../identity/directory.ts'
import type { LedgerCheck } from '../ledger/ledger.ts'
import type { LedgerReads, OpenedEntry } from '../ledger/ledger-reads.ts'
import type { Refusal } from '../lib/refusal.ts'
import type { PutFile } from '../policy/policy-change.ts'
import type { CursorLog } from './ledger-cursor.ts'

/** The dependencies of administration on the other modules. `compose/` gathers them. */
export interface AdminDeps {
  readonly agents: AgentAdmin
  readonly keys: KeyAdmin
  readonly policies: PolicyAdmin
  readonly channels: ChannelAdmin
  readonly approvals: ApprovalAdmin
  readonly ledger: LedgerAdmin
  readonly routes: RouteAdmin
  status(): Promise<FabricStatus>
  activity(args: ActivityArgs & ActivityDefaults): ActivityView
  /**
   * Makes the snapshots of a backup. Refused where the disk has no room for them, and if this
   * process has another log slot.
   */
  makeBackup(slot: string): Promise<BackupMade | Refusal>
}

interface ActivityDefaults {
  readonly window: ActivityView['window']
  readonly countMax: number
}

export interface AgentAdmin {
  list(): readonly ListedAgent[]
  find(name: string): ListedAgent | null
  /** A one-time join string for an agent with these attributes. */
  invite(request: InviteRequest): Promise<Invitation>
  /** The status from now on, which is `revoked` for good; null for an unknown name. */
  setStatus(
    name: string,
    status: AgentRecord['status'],
    reason: string,
  ): Promise<AgentRecord['status'] | null>
}

/** An agent of the directory, and what counts against it. */
export interface ListedAgent extends AgentRecord {
  readonly risk: number
  readonly signals: readonly Signal[]
}

/** An enrolment with every default in place. */
export type InviteRequest = Complete<EnrollArgs>

type Complete<Args> = { readonly [Name in keyof Args]-?: Exclude<Args[Name], undefined> }

export interface KeyAdmin {
  create(request: Complete<KeyCreateArgs>): Promise<CreatedKey>
  list(): readonly KeyView[]
  revoke(prefix: string): Promise<boolean>
  /** Resolves to the version that signs from now on, and to the end of the one before. */
  rotateTokens(): Promise<{ readonly version: number; readonly previousUntil: number }>
}

export interface PolicyAdmin {
  show(): PoliciesView
  /**
   * Validates the whole set with this file in it; stores and loads it only when it is valid. An
   * invalid one changes nothing, and `problems` states where and why, a line each. The change is on
   * record, under `exchange`, before it takes effect; refused, and not made, when it cannot be.
   */
  put(file: PutFile): Promise<PolicyPut | Refusal>
  /** Null when the recorded text is not a request to policy. */
  explain(request: string): PolicyExplanation | null
}

export interface ApprovalAdmin {
  list(): Promise<readonly ApprovalView[]>
  find(id: string): Promise<ApprovalView | null>
  /**
   * Decides as the principal that asks for it, on record before it takes effect. The caller of the
   * action and the user on whose behalf it acts are refused.
   */
  decide(decision: {
    readonly id: string
    readonly verdict: 'approved' | 'denied'
    readonly note: string
    readonly approver: Caller
    readonly exchange: string
  }): Promise<DecidedApproval | Refusal>
}

export interface ChannelAdmin {
  list(): Promise<readonly ChannelView[] | Refusal>
  create(name: string, members: readonly string[]): Promise<ChannelChange | Refusal>
  setMembers(name: string, members: readonly string[]): Promise<ChannelChange | Refusal>
  dead(name: string): Promise<readonly DeadLetterView[] | Refusal>
  redrive(name: string, group: string, offset: number): Promise<boolean | Refusal>
}

export interface LedgerAdmin {
  readonly reads: LedgerReads & CursorLog & { readonly size: number }
  /** The canonical form of a principal of the directory; null for an unknown name. */
  principalOf(name: string): string | null
  /** A refusal where another replica holds the log of the exchange. */
  explain(exchange: string): Promise<readonly OpenedEntry[] | Refusal>
  /** True where entries of the time of that exchange were pruned. */
  mayBePruned(exchange: string): boolean
  check(): Promise<LedgerCheck>
  /** A refusal for a value that names no principal. */
  subject(name: string, owner: string): Promise<SubjectView | Refusal>
  /**
   * Makes every entry that names the principal unreadable, in every slot, under the exchange of the
   * operation. Refused while the directory has it as active: its next request would name it again.
   */
  erase(
    name: string,
    asked: { readonly exchange: string; readonly owner: string },
  ): Promise<ErasureView | Refusal>
  /** Returns what a pruning of this slot would remove now. */
  retention(): Promise<RetentionView>
  /**
   * Removes the entries of this slot that are older than its policy keeps. Refused without a
   * policy, and where this process has another slot.
   */
  prune(slot: string, exchange: string): Promise<PruneView | Refusal>
}

export interface RouteAdmin {
  list(): readonly RouteView[]
  /** Durable when it resolves. */
  put(
    name: string,
    upstream: string,
    route: {
      readonly protocol: RouteView['protocol']
      readonly settings?: RouteSettings | undefined
    },
  ): Promise<void>
  remove(name: string): Promise<boolean>
}
