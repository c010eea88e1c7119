/** One question to policy. Everything in it is already verified; policy does no I/O. */
export interface PolicyRequest {
  readonly principal: {
    readonly kind: 'agent' | 'user'
    readonly name: string
    readonly roles: readonly string[]
    readonly segment: string
    readonly attributes: Readonly<Record<string, string | number | boolean>>
  }
  readonly action: PolicyAction
  readonly resource: {
    readonly kind: 'agent' | 'channel' | 'fabric'
    readonly name: string
    readonly roles: readonly string[]
    readonly segment: string
    readonly attributes: Readonly<Record<string, string | number | boolean>>
  }
  readonly context: PolicyContext
}

export const POLICY_ACTIONS = [
  'call',
  'publish',
  'consume',
  'discover',
  'record',
  'read',
  'administer',
] as const
/**
 * call: a request to an agent · publish, consume: a channel · discover: endpoints, bundles, cards ·
 * record: append a connector's entries to the ledger · read: the fabric's own data · administer:
 * change it.
 */
export type PolicyAction = (typeof POLICY_ACTIONS)[number]

export interface PolicyContext {
  readonly transport: 'gateway' | 'mesh' | 'queue'
  readonly protocol: 'a2a' | 'mcp' | 'http' | 'queue' | 'admin'
  /**
   * Protocol's own name of the operation: `SendMessage`, `tools/call`, `POST`, `publish`,
   * `agent.list`.
   */
  readonly operation: string
  /** The tool or skill, or empty where the protocol names none. */
  readonly tool: string
  /** Authentication method of the caller. */
  readonly method: 'certificate' | 'token' | 'api-key'
  /** True if the request carries a verified signature of the caller. */
  readonly signed: boolean
  /** 0 (nothing known against the caller) to 100. */
  readonly risk: number
  /** Labels of the signed clear header of a sealed message; empty elsewhere. */
  readonly labels: readonly string[]
  /** The owner of the requested task, if it is another principal's; empty or absent elsewhere. */
  readonly taskOwner?: string
  /** The user on whose behalf the caller acts, in canonical form; empty or absent for none. */
  readonly user?: string
  /** Unix seconds. */
  readonly time: number
}

/** The obligations of a permit. The strictest of all determining permits holds. */
export interface Obligations {
  /** Data classes to mask for this receiver, sorted, without repeats. */
  readonly mask: readonly string[]
  /** Data classes that stop the message outright. */
  readonly block: readonly string[]
  /** The request must carry the caller's signature, the response the callee's. */
  readonly signedRequest: boolean
  readonly signedResponse: boolean
  /** Assurance that the intent must reach before delivery; higher levels need witnesses. */
  readonly assurance: 'durable'
  /** A human decision that must exist first; null when none is needed. */
  readonly approval: string | null
}

export interface Decision {
  readonly effect: 'permit' | 'deny'
  /**
   * Ids of the policies that determined it: the permits, or the forbids; empty for default deny.
   */
  readonly policies: readonly string[]
  /** Policies whose evaluation failed. Any failing forbid makes the effect a deny. */
  readonly errors: readonly { readonly policy: string; readonly message: string }[]
  readonly obligations: Obligations
}

/** One immutable, validated set of policies. */
export interface PolicySet {
  /** Hex SHA-256 over names and texts: what the ledger records as the version that decided. */
  readonly version: string
  decide(request: PolicyRequest): Decision
}

/** Holds the set in force and replaces it whole or not at all. */
export interface PolicyModule {
  readonly current: PolicySet
  /** Called after a new set took force. Returns the function that stops it. */
  onChange(listener: (set: PolicySet) => void): () => void
}
