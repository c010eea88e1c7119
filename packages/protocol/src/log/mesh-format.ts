import { parseRouteSettings, type RouteSettings } from '../control/route-reliability.ts'
import { parseBase64, toBase64 } from '../encoding/bytes.ts'
import { isAgentName, isExchangeId, isFormerExchangeId, isSlotName } from '../encoding/ids.ts'
import { FormerFormatError, MalformedError } from '../encoding/malformed-error.ts'
import { meshFactsFault } from './mesh-facts.ts'

/**
 * The entries that a connector may ask to have recorded: the ends of exchanges that it decided
 * itself.
 */
export const MESH_ENTRY_KINDS = ['intent', 'outcome', 'refusal', 'indeterminate'] as const
export type MeshEntryKind = (typeof MESH_ENTRY_KINDS)[number]

export type MeshFact = string | number | boolean | Uint8Array

export interface MeshEntry {
  readonly kind: MeshEntryKind
  readonly exchange: string
  readonly facts: Readonly<Record<string, MeshFact>>
}

export const meshEntriesMax = 256
export const meshFactsMax = 48

/** Body of `POST /v1/mesh/entries`. */
export function formatMeshEntries(entries: readonly MeshEntry[]): string {
  return joinMeshEntries(entries.map(formatMeshEntry))
}

/** One entry of the body. Byte strings travel as `{ "b64": … }`. */
export function formatMeshEntry(entry: MeshEntry): string {
  const facts = Object.entries(entry.facts).map(([name, value]) => [
    name,
    value instanceof Uint8Array ? { b64: toBase64(value) } : value,
  ])
  return JSON.stringify({ ...entry, facts: Object.fromEntries(facts) })
}

/** The body from entries that `formatMeshEntry` wrote. */
export function joinMeshEntries(entries: readonly string[]): string {
  return `{"entries":[${entries.join(',')}]}`
}

/**
 * One element for each entry, so that one which is malformed is refused alone: other exchanges wait
 * in the same batch. Throws a MalformedError on what is not a batch at all.
 */
export function parseMeshEntries(value: unknown): readonly (MeshEntry | MalformedError)[] {
  const { entries } = record(value, ['entries'])
  if (!Array.isArray(entries) || entries.length === 0 || entries.length > meshEntriesMax) {
    throw new MalformedError(`1 to ${meshEntriesMax} entries are expected`)
  }
  return entries.map((entry: unknown) => {
    try {
      return parseEntry(entry)
    } catch (cause) {
      if (cause instanceof MalformedError) return cause
      throw cause
    }
  })
}

function parseEntry(value: unknown): MeshEntry {
  const { kind, exchange, facts } = record(value, ['kind', 'exchange', 'facts'])
  const known = MESH_ENTRY_KINDS.find((each) => each === kind)
  if (known === undefined) throw new MalformedError('the kind of an entry is unknown')
  if (isFormerExchangeId(exchange)) {
    throw new FormerFormatError('exchange ids begin with exc_<slot>_: update the connector')
  }
  if (!isExchangeId(exchange)) throw new MalformedError('the exchange of an entry is not an id')
  if (typeof facts !== 'object' || facts === null || Array.isArray(facts)) {
    throw new MalformedError('the facts of an entry are not an object')
  }
  const pairs = Object.entries(facts)
  if (pairs.length > meshFactsMax) throw new MalformedError('an entry has too many facts')
  const parsed = Object.fromEntries(pairs.map(([name, fact]) => [name, parseFact(fact)]))
  const fault = meshFactsFault({ kind: known, facts: parsed })
  if (fault !== null) throw new MalformedError(fault)
  return { kind: known, exchange, facts: parsed }
}

function parseFact(value: unknown): MeshFact {
  if (typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value
  const { b64 } = record(value, ['b64'])
  const bytes = typeof b64 === 'string' ? parseBase64(b64) : null
  if (bytes === null) throw new MalformedError('a fact is of no known type')
  return bytes
}

export interface MeshEndpoint {
  readonly url: string
  readonly protocol: 'a2a' | 'mcp' | 'http' | 'auto'
  /**
   * True if a connector listens there, which decides and records by itself. Anything else is
   * reached by way of the fabric, so that no exchange goes unrecorded.
   */
  readonly connector: boolean
}

export interface MeshRegistration {
  /**
   * The agent's instance that registers: each replaces only its own endpoints. Any text that only
   * this instance uses, such as its own address.
   */
  readonly instance: string
  readonly endpoints: readonly MeshEndpoint[]
  readonly ttlSeconds: number
}

const protocols: readonly string[] = ['a2a', 'mcp', 'http', 'auto']
export const meshTtlSecondsMax = 3600
export const meshEndpointsMax = 16

/** Body of `POST /v1/mesh/endpoints`. Throws a MalformedError on anything else. */
export function parseMeshRegistration(value: unknown): MeshRegistration {
  const { instance, endpoints, ttlSeconds } = record(value, ['instance', 'endpoints', 'ttlSeconds'])
  if (typeof instance !== 'string' || instance === '' || instance.length > 2048) {
    throw new MalformedError('a registration names its instance')
  }
  const isTtl =
    typeof ttlSeconds === 'number' &&
    Number.isSafeInteger(ttlSeconds) &&
    ttlSeconds >= 1 &&
    ttlSeconds <= meshTtlSecondsMax
  if (!isTtl) throw new MalformedError(`ttlSeconds is 1 to ${meshTtlSecondsMax}`)
  if (!Array.isArray(endpoints) || endpoints.length > meshEndpointsMax) {
    throw new MalformedError(`at most ${meshEndpointsMax} endpoints are expected`)
  }
  return { instance, ttlSeconds, endpoints: endpoints.map(parseEndpoint) }
}

function parseEndpoint(value: unknown): MeshEndpoint {
  const { url, protocol, connector = false } = record(value, ['url', 'protocol', 'connector'])
  if (typeof url !== 'string' || url.length > 2048 || !URL.canParse(url)) {
    throw new MalformedError('an endpoint has no URL')
  }
  // Anything but mutual TLS would leave the receiver's identity to the holder of the address.
  if (new URL(url).protocol !== 'https:') throw new MalformedError('an endpoint is not https')
  if (typeof protocol !== 'string' || !protocols.includes(protocol)) {
    throw new MalformedError('the protocol of an endpoint is unknown')
  }
  if (typeof connector !== 'boolean') throw new MalformedError('connector is a flag')
  return { url, protocol: protocol as MeshEndpoint['protocol'], connector }
}

/** One agent as connectors know it. Keys are base64; see the directory of the fabric. */
export interface MeshAgent {
  readonly name: string
  readonly kind: 'agent' | 'user'
  readonly roles: readonly string[]
  readonly segment: string
  readonly attributes: Readonly<Record<string, string | number | boolean>>
  readonly status: 'active' | 'quarantined' | 'revoked'
  readonly statusReason: string
  /** 0 to 100, as of this state. */
  readonly risk: number
  /** Counts enrolments: certificates of an earlier one are worth nothing. */
  readonly generation: number
  readonly createdAt: number
  readonly signing: { readonly keyId: string; readonly publicKey: string } | null
  readonly sealing: { readonly keyId: string; readonly publicKey: string } | null
}

/** Answer of `GET /v1/mesh/state`: everything that a connector decides by, whole each time. */
export interface MeshState {
  readonly sequence: number
  /** Of one caller to one receiver, as the fabric is configured. */
  readonly requestsPerMinute: number
  /** The log slot in which exchanges of connectors are recorded; their ids name it. */
  readonly slot: string
  readonly policies: readonly { readonly name: string; readonly text: string }[]
  readonly agents: readonly MeshAgent[]
  readonly endpoints: readonly (MeshEndpoint & { readonly name: string })[]
  readonly bundles: Readonly<Record<string, { sequence: number; roots: readonly string[] }>>
  /** The settings of each route that has any, by the name of its receiver. */
  readonly routes: Readonly<Record<string, RouteSettings>>
  /** Certificates that were renewed, by hex SHA-256, with the end of what each was renewed to. */
  readonly renewals: Readonly<Record<string, number>>
}

/** Checks the frame only: the fabric is authenticated by its certificate before it is read. */
export function parseMeshState(value: unknown): MeshState {
  const fields = [
    'sequence',
    'requestsPerMinute',
    'slot',
    'policies',
    'agents',
    'endpoints',
    'bundles',
  ]
  const state = record(value, [...fields, 'routes', 'renewals'])
  const { sequence, requestsPerMinute, policies, agents, endpoints, bundles, renewals } = state
  if (typeof requestsPerMinute !== 'number' || !(requestsPerMinute >= 1)) {
    throw new MalformedError('the mesh state is malformed')
  }
  if (!isSlotName(state['slot'])) throw new MalformedError('the mesh state names no log slot')
  if (typeof sequence !== 'number' || !Array.isArray(policies) || !Array.isArray(agents)) {
    throw new MalformedError('the mesh state is malformed')
  }
  if (!Array.isArray(endpoints) || typeof bundles !== 'object' || bundles === null) {
    throw new MalformedError('the mesh state is malformed')
  }
  if (typeof renewals !== 'object' || renewals === null) {
    throw new MalformedError('the mesh state is malformed')
  }
  const { routes } = state
  if (typeof routes !== 'object' || routes === null) {
    throw new MalformedError('the mesh state is malformed')
  }
  for (const settings of Object.values(routes)) parseRouteSettings(settings)
  for (const agent of agents as MeshAgent[]) {
    if (!isAgentName(agent.name)) throw new MalformedError('the mesh state names no agent')
  }
  return value as MeshState
}

function record(value: unknown, names: readonly string[]): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new MalformedError('an object is expected')
  }
  const unknown = Object.keys(value).filter((name) => !names.includes(name))
  if (unknown.length > 0) throw new MalformedError(`unknown member ${unknown.join(', ')}`)
  return value as Readonly<Record<string, unknown>>
}
