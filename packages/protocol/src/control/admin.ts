import { type ActivityArgs, type ActivityView, readActivityView } from './admin-activity.ts'
import {
  type AgentView,
  type CreatedKey,
  type EnrollArgs,
  type Invitation,
  type KeyCreateArgs,
  type KeyView,
  type RevokedKey,
  type RotatedKey,
  readAgentView,
  readCreatedKey,
  readInvitation,
  readKeyView,
  readRevokedKey,
  readRotatedKey,
  readStatusChange,
  type StatusChange,
  type StatusChangeArgs,
} from './admin-agents.ts'
import {
  type ApprovalArgs,
  type ApprovalView,
  type DecidedApproval,
  readApprovalView,
  readDecidedApproval,
} from './admin-approvals.ts'
import {
  type ChannelChange,
  type ChannelMembersArgs,
  type ChannelView,
  type DeadLetterView,
  type RedriveArgs,
  type Redriven,
  readChannelChange,
  readChannelView,
  readDeadLetter,
  readRedriven,
} from './admin-channels.ts'
import {
  type BackupMade,
  type FabricStatus,
  type RemovedRoute,
  type RoutePutArgs,
  type RouteView,
  readBackupMade,
  readFabricStatus,
  readRemovedRoute,
  readRouteView,
  readStoredRoute,
  type StoredRoute,
} from './admin-fabric.ts'
import {
  type EntryPage,
  type EraseArgs,
  type ErasureView,
  type ExchangePage,
  type ExplainedExchange,
  type FollowedEntry,
  type LedgerCheckView,
  type LedgerFindArgs,
  type LogPartArgs,
  type PruneArgs,
  type PruneView,
  type RetentionView,
  readEntryPage,
  readErasureView,
  readExchangePage,
  readExplainedExchange,
  readFollowedEntry,
  readLedgerCheck,
  readPruneView,
  readRetention,
  readSubjectView,
  type SubjectView,
} from './admin-ledger.ts'
import {
  type PoliciesView,
  type PolicyFile,
  type PolicyPut,
  readPoliciesView,
  readPolicyPut,
} from './admin-policies.ts'
import { type Reader, readList, readObject } from './admin-reader.ts'

/**
 * The administrative contract: `POST /v1/admin` carries `{ "operation": …, "args": { … } }` and
 * answers `{ "result": … }`, or a refusal. The server's results, the command line and the console
 * are typed by this table, and both clients read every answer by its reader. A reader accepts
 * fields that it does not know.
 */
export interface AdminContract {
  readonly status: Operation<NoArgs, FabricStatus>
  readonly 'activity.show': Operation<ActivityArgs, ActivityView>
  readonly 'backup.make': Operation<Pick<BackupMade, 'slot'>, BackupMade>
  readonly 'agent.list': Operation<NoArgs, readonly AgentView[]>
  readonly 'agent.show': Operation<Named, AgentView>
  readonly 'agent.enroll': Operation<EnrollArgs, Invitation>
  readonly 'agent.quarantine': Operation<StatusChangeArgs, StatusChange>
  readonly 'agent.restore': Operation<StatusChangeArgs, StatusChange>
  readonly 'agent.revoke': Operation<StatusChangeArgs, StatusChange>
  readonly 'key.create': Operation<KeyCreateArgs, CreatedKey>
  readonly 'key.list': Operation<NoArgs, readonly KeyView[]>
  readonly 'key.revoke': Operation<{ readonly prefix: string }, RevokedKey>
  readonly 'key.rotate': Operation<Pick<RotatedKey, 'key'>, RotatedKey>
  readonly 'policy.show': Operation<NoArgs, PoliciesView>
  readonly 'policy.put': Operation<PolicyFile, PolicyPut>
  readonly 'policy.explain': Operation<{ readonly exchange: string }, ExplainedExchange>
  readonly 'approval.list': Operation<NoArgs, readonly ApprovalView[]>
  readonly 'approval.show': Operation<{ readonly id: string }, ApprovalView>
  readonly 'approval.approve': Operation<ApprovalArgs, DecidedApproval>
  readonly 'approval.deny': Operation<ApprovalArgs, DecidedApproval>
  readonly 'channel.list': Operation<NoArgs, readonly ChannelView[]>
  readonly 'channel.create': Operation<ChannelMembersArgs, ChannelChange>
  readonly 'channel.members': Operation<ChannelMembersArgs, ChannelChange>
  readonly 'channel.dead': Operation<Named, readonly DeadLetterView[]>
  readonly 'channel.redrive': Operation<RedriveArgs, Redriven>
  readonly 'ledger.read': Operation<Pick<LogPartArgs, 'countMax' | 'after'>, EntryPage>
  readonly 'ledger.recent': Operation<LogPartArgs, ExchangePage>
  readonly 'ledger.find': Operation<LedgerFindArgs, ExchangePage>
  readonly 'ledger.check': Operation<NoArgs, LedgerCheckView>
  readonly 'ledger.subject': Operation<Pick<EraseArgs, 'subject'>, SubjectView>
  readonly 'ledger.erase': Operation<EraseArgs, ErasureView>
  readonly 'ledger.retention': Operation<NoArgs, RetentionView>
  readonly 'ledger.prune': Operation<PruneArgs, PruneView>
  readonly 'route.list': Operation<NoArgs, readonly RouteView[]>
  readonly 'route.put': Operation<RoutePutArgs, StoredRoute>
  readonly 'route.delete': Operation<Named, RemovedRoute>
}

interface Operation<Args, Result> {
  readonly args: Args
  readonly result: Result
}

type NoArgs = Readonly<Record<string, never>>
interface Named {
  readonly name: string
}

export type AdminOperation = keyof AdminContract
export type AdminArgs<Name extends AdminOperation> = AdminContract[Name]['args']
export type AdminResult<Name extends AdminOperation> = AdminContract[Name]['result']

/**
 * Answers with a stream of entries, each of which `parseFollowedEntry` reads: those from now on, or
 * after the cursor that the argument `after` gives.
 */
export const WATCH_OPERATION = 'decisions.watch'

const readers: { readonly [Name in AdminOperation]: Reader<AdminResult<Name>> } = {
  status: readFabricStatus,
  'activity.show': readActivityView,
  'backup.make': readBackupMade,
  'agent.list': readList(readAgentView),
  'agent.show': readAgentView,
  'agent.enroll': readInvitation,
  'agent.quarantine': readStatusChange,
  'agent.restore': readStatusChange,
  'agent.revoke': readStatusChange,
  'key.create': readCreatedKey,
  'key.list': readList(readKeyView),
  'key.revoke': readRevokedKey,
  'key.rotate': readRotatedKey,
  'policy.show': readPoliciesView,
  'policy.put': readPolicyPut,
  'policy.explain': readExplainedExchange,
  'approval.list': readList(readApprovalView),
  'approval.show': readApprovalView,
  'approval.approve': readDecidedApproval,
  'approval.deny': readDecidedApproval,
  'channel.list': readList(readChannelView),
  'channel.create': readChannelChange,
  'channel.members': readChannelChange,
  'channel.dead': readList(readDeadLetter),
  'channel.redrive': readRedriven,
  'ledger.read': readEntryPage,
  'ledger.recent': readExchangePage,
  'ledger.find': readExchangePage,
  'ledger.check': readLedgerCheck,
  'ledger.subject': readSubjectView,
  'ledger.erase': readErasureView,
  'ledger.retention': readRetention,
  'ledger.prune': readPruneView,
  'route.list': readList(readRouteView),
  'route.put': readStoredRoute,
  'route.delete': readRemovedRoute,
}

/** Reads the body of an answer. Throws a MalformedError that names the field it rejects. */
export function parseAdminAnswer<Name extends AdminOperation>(
  operation: Name,
  body: unknown,
): AdminResult<Name> {
  const read: Reader<AdminResult<Name>> = readers[operation]
  return readObject<{ readonly result: AdminResult<Name> }>({ result: read })(body, 'the answer')
    .result
}

/** Reads one event of `decisions.watch`. Throws a MalformedError that names what it rejects. */
export function parseFollowedEntry(value: unknown): FollowedEntry {
  return readFollowedEntry(value, 'the entry')
}
