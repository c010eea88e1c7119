import {
  type Reader,
  readFlag,
  readList,
  readMap,
  readNullable,
  readNumber,
  readObject,
  readOneOf,
  readScalar,
  readText,
  readWhole,
} from './admin-reader.ts'

const kinds = ['agent', 'user'] as const
const statuses = ['active', 'quarantined', 'revoked'] as const

/** An agent or a user as administration shows it; its keys stay in the directory. */
export interface AgentView {
  readonly name: string
  readonly kind: (typeof kinds)[number]
  readonly roles: readonly string[]
  readonly segment: string
  readonly attributes: Readonly<Record<string, string | number | boolean>>
  readonly status: (typeof statuses)[number]
  /** The reason for the status; empty while active. */
  readonly statusReason: string
  /** Counts enrolments. */
  readonly generation: number
  /** Unix milliseconds. */
  readonly createdAt: number
  /** False until the agent enrolled: a record may exist for a key-only caller. */
  readonly enrolled: boolean
  /** 0 to 100, decaying. */
  readonly risk: number
  readonly signals: readonly SignalView[]
}

/** One observation that raised the risk of an agent. */
export interface SignalView {
  readonly detector: string
  readonly agent: string
  readonly at: number
  /** The part that this signal adds to the risk score, 0 to 100. */
  readonly weight: number
  /** One sentence for a person. */
  readonly says: string
}

export interface EnrollArgs {
  readonly name: string
  readonly kind?: AgentView['kind'] | undefined
  readonly roles?: readonly string[] | undefined
  /** Empty for none. */
  readonly segment?: string | undefined
  readonly attributes?: AgentView['attributes'] | undefined
  readonly ttlSeconds?: number | undefined
}

/** A one-time join string, and when it ends. */
export interface Invitation {
  readonly join: string
  readonly expiresAt: number
}

export interface StatusChangeArgs {
  readonly name: string
  readonly reason: string
}

/** The status of an agent from now on. */
export interface StatusChange {
  readonly name: string
  readonly status: AgentView['status']
  readonly reason: string
}

/** An API key as administration lists it, without its secret. */
export interface KeyView {
  /** The characters of the key that are not secret. */
  readonly prefix: string
  /** The principal that the key authenticates. */
  readonly agent: string
  /** The receivers it reaches; null for all that policy allows. */
  readonly scopes: readonly string[] | null
  readonly label: string
  readonly createdAt: number
  readonly expiresAt: number
}

export interface KeyCreateArgs {
  /** The principal that the key authenticates; made when it does not exist yet. */
  readonly agent: string
  readonly scopes?: readonly string[] | null | undefined
  readonly ttlSeconds?: number | undefined
}

/** A new API key: the only answer that holds its secret. */
export interface CreatedKey {
  readonly key: string
  readonly prefix: string
  readonly expiresAt: number
}

export interface RevokedKey {
  readonly prefix: string
  readonly revoked: true
}

/** The keys of the fabric that an operator rotates. */
const rotatedKeys = ['tokens'] as const

export interface RotatedKey {
  readonly key: (typeof rotatedKeys)[number]
  /** The version that signs from now on. */
  readonly version: number
  /** Unix milliseconds: until then, the version before verifies as well. */
  readonly previousUntil: number
}

const readSignal: Reader<SignalView> = readObject<SignalView>({
  detector: readText,
  agent: readText,
  at: readWhole,
  weight: readNumber,
  says: readText,
})

export const readAgentView: Reader<AgentView> = readObject<AgentView>({
  name: readText,
  kind: readOneOf(kinds),
  roles: readList(readText),
  segment: readText,
  attributes: readMap(readScalar),
  status: readOneOf(statuses),
  statusReason: readText,
  generation: readWhole,
  createdAt: readWhole,
  risk: readNumber,
  signals: readList(readSignal),
  enrolled: readFlag,
})

export const readInvitation: Reader<Invitation> = readObject<Invitation>({
  join: readText,
  expiresAt: readWhole,
})

export const readStatusChange: Reader<StatusChange> = readObject<StatusChange>({
  name: readText,
  status: readOneOf(statuses),
  reason: readText,
})

export const readKeyView: Reader<KeyView> = readObject<KeyView>({
  prefix: readText,
  agent: readText,
  scopes: readNullable(readList(readText)),
  label: readText,
  createdAt: readWhole,
  expiresAt: readWhole,
})

export const readCreatedKey: Reader<CreatedKey> = readObject<CreatedKey>({
  key: readText,
  prefix: readText,
  expiresAt: readWhole,
})

export const readRevokedKey: Reader<RevokedKey> = readObject<RevokedKey>({
  prefix: readText,
  revoked: readOneOf<true>([true]),
})

export const readRotatedKey: Reader<RotatedKey> = readObject<RotatedKey>({
  key: readOneOf(rotatedKeys),
  version: readWhole,
  previousUntil: readWhole,
})
