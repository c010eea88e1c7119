import type { Signal } from '../detection/detector.ts'
import type { AgentRecord } from '../identity/directory.ts'
import type { LedgerCheck, OpenedEntry } from '../ledger/ledger.ts'
import type { Refusal } from '../lib/refusal.ts'
import type { PutFile } from '../policy/policy-change.ts'

/** The dependencies of administration on the other modules. `compose.ts` gathers them. */
export interface AdminDeps {
  readonly agents: AgentAdmin
  readonly keys: KeyAdmin
  readonly policies: PolicyAdmin
  readonly channels: ChannelAdmin
  readonly ledger: LedgerAdmin
  readonly routes: RouteAdmin
  status(): Promise<FabricStatus>
  /** Every decision as it is recorded. Returns what stops it. */
  watchDecisions(listener: (entry: OpenedEntry) => void): () => void
}

export interface AgentAdmin {
  list(): readonly AgentView[]
  find(name: string): AgentView | null
  /** A one-time join string for an agent with these attributes. */
  invite(order: InviteOrder): Promise<{ readonly join: string; readonly expiresAt: number }>
  /** The status from now on, which is `revoked` for good; null for an unknown name. */
  setStatus(
    name: string,
    status: AgentRecord['status'],
    reason: string,
  ): Promise<AgentRecord['status'] | null>
}

export interface AgentView extends AgentRecord {
  readonly risk: number
  readonly signals: readonly Signal[]
}

export interface InviteOrder {
  readonly name: string
  readonly kind: 'agent' | 'user'
  readonly roles: readonly string[]
  readonly segment: string
  readonly attributes: AgentRecord['attributes']
  readonly ttlSeconds: number
}

export interface KeyAdmin {
  create(
    order: KeyOrder,
  ): Promise<{ readonly key: string; readonly prefix: string; readonly expiresAt: number }>
  list(): readonly KeyView[]
  revoke(prefix: string): Promise<boolean>
}

export interface KeyOrder {
  /** The principal that the key authenticates; made when it does not exist yet. */
  readonly agent: string
  /** Receivers it reaches; null for all that policy allows. */
  readonly scopes: readonly string[] | null
  readonly ttlSeconds: number
}

export interface KeyView {
  readonly prefix: string
  readonly agent: string
  readonly scopes: readonly string[] | null
  readonly createdAt: number
  readonly expiresAt: number
}

export interface PolicyAdmin {
  show(): { readonly version: string; readonly sources: readonly { name: string; text: string }[] }
  /**
   * Validates the whole set with this file in it; stores and loads it only when it is valid. An
   * invalid one changes nothing, and `problems` states where and why, a line each. The change is on
   * record, under `exchange`, before it takes effect; refused, and not made, when it cannot be.
   */
  put(file: PutFile): Promise<PolicyPut | Refusal>
  /** Null when the recorded text is not a request to policy. */
  explain(request: string): unknown
}

export interface PolicyPut {
  /** The version in force afterwards. */
  readonly version: string
  readonly taken: boolean
  readonly problems: readonly string[]
  /** Of the set in force: what is valid and cannot mean what it was written for. */
  readonly warnings: readonly string[]
}

export interface ChannelAdmin {
  list(): Promise<readonly unknown[]>
  create(name: string, members: readonly string[]): Promise<unknown>
  setMembers(name: string, members: readonly string[]): Promise<unknown>
  dead(name: string): Promise<readonly unknown[]>
  redrive(name: string, group: string, offset: number): Promise<boolean>
}

export interface LedgerAdmin {
  recent(countMax: number): Promise<readonly OpenedEntry[]>
  explain(exchange: string): Promise<readonly OpenedEntry[]>
  check(): Promise<LedgerCheck>
}

export interface RouteAdmin {
  list(): readonly RouteView[]
  /** Durable when it resolves. */
  put(name: string, upstream: string, protocol: RouteView['protocol']): Promise<void>
  remove(name: string): Promise<boolean>
}

export interface RouteView {
  readonly name: string
  readonly urls: readonly string[]
  readonly protocol: 'a2a' | 'mcp' | 'http' | 'auto'
  readonly source: 'configured' | 'registered'
}

export interface FabricStatus {
  readonly version: string
  readonly trustDomain: string
  readonly origin: string
  readonly ledger: { readonly size: number; readonly vkey: string }
  /** As `countersign up` and `countersign verify` print it. */
  readonly trustFingerprint: string
  readonly policyVersion: string
  readonly agents: number
  readonly memoryBytes: number
  readonly uptimeMs: number
}
