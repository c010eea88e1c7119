import type { Attributes } from './caller.ts'

export type AgentStatus = 'active' | 'quarantined' | 'revoked'

/** One key that an agent proved possession of at enrolment. Keys are raw 32-byte public keys. */
export interface AgentKeys {
  /** Ed25519, for message signatures and countersignatures. */
  readonly signing: { readonly keyId: string; readonly publicKey: Uint8Array }
  /** X25519, for sealing (HPKE). */
  readonly sealing: { readonly keyId: string; readonly publicKey: Uint8Array }
}

/** The facts that the fabric knows about one principal. */
export interface AgentRecord {
  readonly name: string
  readonly kind: 'agent' | 'user'
  readonly roles: readonly string[]
  readonly segment: string
  readonly attributes: Attributes
  readonly status: AgentStatus
  /** The reason for the status, for `explain`; empty while active. */
  readonly statusReason: string
  /** Null until the agent enrolled: a record may exist for a key-only caller. */
  readonly keys: AgentKeys | null
  /** Counts enrolments. Certificates and tokens of an earlier one are worth nothing. */
  readonly generation: number
  readonly createdAt: number
}

/**
 * Every principal the fabric knows. Reads are synchronous and come from memory: they stand on the
 * path of every request. Writes are durable before they are visible.
 */
export interface Directory {
  find(name: string): AgentRecord | null
  findBySigningKey(keyId: string): AgentRecord | null
  list(): readonly AgentRecord[]
  /**
   * Called after every durable change, in whichever process, in commit order. Returns the function
   * that stops it.
   */
  onChange(listener: (record: AgentRecord) => void): () => void
}
