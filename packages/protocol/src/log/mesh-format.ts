import { parseRouteSettings, type RouteSettings } from '../control/route-reliability.ts'
import { decodeCbor } from '../encoding/cbor.ts'
import { CborWriter } from '../encoding/cbor-writer.ts'
import { isAgentName, isExchangeId, isFormerExchangeId, isSlotName } from '../encoding/ids.ts'
import { FormerFormatError, MalformedError } from '../encoding/malformed-error.ts'
import { batchEntriesMax } from './batch.ts'
import { type Leaf, leafVersion } from './leaf.ts'
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

export const meshFactsMax = 48

/**
 * The format of a batch of entries, which fabric and connector agree on before a connector serves.
 */
export const meshEntriesFormat: number = leafVersion

/** One entry of a batch, as it travels. */
export interface PackedEntry {
  readonly leaf: Uint8Array
  /** `salt(16) ‖ uint32 length ‖ encodeFact(name, value)` for each fact of the leaf. */
  readonly detail: Uint8Array
}

/** The body of `POST /v1/mesh/entries`. */
export interface PackedBatch {
  /** As `draftBatch` encodes it. */
  readonly statement: Uint8Array
  /** 1 to `batchEntriesMax`. */
  readonly entries: readonly PackedEntry[]
}

/** Of one body; the fabric has a lower bound for those that it receives. */
const packedBytesMax = 64 * 1024 * 1024

/** `[2, statement, [[leaf, detail], …]]` in deterministic CBOR. */
export function encodePackedBatch({ statement, entries }: PackedBatch): Uint8Array {
  const length = entries.reduce((sum, { leaf, detail }) => sum + leaf.length + detail.length, 0)
  const writer = new CborWriter(length + statement.length + 16 * (entries.length + 2))
  writer.head(4, 3)
  writer.integer(meshEntriesFormat)
  writer.byteString(statement)
  writer.head(4, entries.length)
  for (const { leaf, detail } of entries) {
    writer.head(4, 2)
    writer.byteString(leaf)
    writer.byteString(detail)
  }
  return writer.finish()
}

/**
 * Throws a MalformedError on everything that `encodePackedBatch` does not write, and a
 * FormerFormatError on the JSON of earlier connectors. Neither statement nor entries are read.
 */
export function parsePackedBatch(bytes: Uint8Array): PackedBatch {
  if (bytes[0] === 0x7b)
    throw new FormerFormatError('entries are stated in CBOR: update the connector')
  const body = decodeCbor(bytes, { bytesMax: packedBytesMax, depthMax: 3 })
  const [version, statement, entries]: readonly unknown[] = Array.isArray(body) ? body : []
  if (!Array.isArray(body) || body.length !== 3 || version !== meshEntriesFormat) {
    throw new MalformedError('the body is not a batch of entries')
  }
  if (!(statement instanceof Uint8Array)) throw new MalformedError('the batch has no statement')
  if (!Array.isArray(entries) || entries.length === 0 || entries.length > batchEntriesMax) {
    throw new MalformedError(`1 to ${batchEntriesMax} entries are expected`)
  }
  return { statement, entries: entries.map((entry: unknown) => packedEntry(entry)) }
}

function packedEntry(entry: unknown): PackedEntry {
  const [leaf, detail]: readonly unknown[] = Array.isArray(entry) ? entry : []
  const isPair = Array.isArray(entry) && entry.length === 2
  if (!isPair || !(leaf instanceof Uint8Array) || !(detail instanceof Uint8Array)) {
    throw new MalformedError('an entry is not a leaf with its detail')
  }
  return { leaf, detail }
}

/**
 * The entry of a leaf whose facts are open. Throws a MalformedError on one that no connector
 * records, and a FormerFormatError where its exchange is named as earlier connectors did.
 */
export function meshEntryOf(leaf: Leaf, facts: MeshEntry['facts']): MeshEntry {
  const { exchange } = leaf
  const kind = MESH_ENTRY_KINDS.find((each) => each === leaf.kind)
  if (kind === undefined) throw new MalformedError('the kind of an entry is not a connector’s')
  if (isFormerExchangeId(exchange)) {
    throw new FormerFormatError('exchange ids begin with exc_<slot>_: update the connector')
  }
  if (!isExchangeId(exchange)) throw new MalformedError('the exchange of an entry is not an id')
  if (leaf.facts.size > meshFactsMax) throw new MalformedError('an entry has too many facts')
  const fault = meshFactsFault({ kind, facts })
  if (fault !== null) throw new MalformedError(fault)
  return { kind, exchange, facts }
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
  /** The format of the batches that the fabric takes: `meshEntriesFormat`. */
  readonly entriesFormat: number
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

/**
 * Checks the frame only: the fabric is authenticated by its certificate before it is read. Throws a
 * FormerFormatError on the state of a fabric that takes entries in another format.
 */
export function parseMeshState(value: unknown): MeshState {
  // First, so that a state that is otherwise new as well has the message that helps.
  const { entriesFormat = 1 } = object(value)
  if (entriesFormat !== meshEntriesFormat) {
    const taken = `the fabric takes entries of format ${String(entriesFormat)}`
    const stated = `this connector states format ${meshEntriesFormat}`
    throw new FormerFormatError(`${taken}, and ${stated}: update the older of the two`)
  }
  const fields = [
    'sequence',
    'entriesFormat',
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
  const members = object(value)
  const unknown = Object.keys(members).filter((name) => !names.includes(name))
  if (unknown.length > 0) throw new MalformedError(`unknown member ${unknown.join(', ')}`)
  return members
}

function object(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new MalformedError('an object is expected')
  }
  return value as Readonly<Record<string, unknown>>
}
