import { toHex } from './bytes.ts'

/**
 * Prefixed, time-ordered ids: `<prefix>_<UUIDv7 in 32 lower-case hex digits>` (RFC 9562, section
 * 5.7).
 */
export type Id<Prefix extends string> = `${Prefix}_${string}`
export type MessageId = Id<'msg'>

const uuid7Hex = /^[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$/
const uuid7Length = 32

/** `random` is ten bytes from a cryptographic source; `unixMs` the time of creation. */
export function createId<Prefix extends string>(
  prefix: Prefix,
  unixMs: number,
  random: Uint8Array,
): Id<Prefix> {
  if (random.length !== 10) throw new TypeError('an id needs ten random bytes')
  const time = Math.floor(unixMs).toString(16).padStart(12, '0')
  const tail = new Uint8Array(random)
  tail[0] = 0x70 | ((tail[0] ?? 0) & 0x0f)
  tail[2] = 0x80 | ((tail[2] ?? 0) & 0x3f)
  return `${prefix}_${time}${toHex(tail)}`
}

export function isId<Prefix extends string>(prefix: Prefix, value: unknown): value is Id<Prefix> {
  return (
    typeof value === 'string' &&
    value.startsWith(`${prefix}_`) &&
    uuid7Hex.test(value.slice(prefix.length + 1))
  )
}

/**
 * `exc_<slot>_<UUIDv7 in hex>`: an exchange is recorded in the log of one slot, and its id names
 * it. A slot's name has no underscore and is shorter than a UUID, so that an id has one reading.
 */
export type ExchangeId = `exc_${string}_${string}`

/** Short, so that an id fits a line of 80 columns next to what it belongs to. */
const slotName = /^[a-z][a-z0-9]?$/

/** Reports whether a slot can have this name: a letter, or a letter and a letter or digit. */
export function isSlotName(value: unknown): value is string {
  return typeof value === 'string' && slotName.test(value)
}

/** As `createId`, for an exchange that the log of `slot` records. */
export function createExchangeId(slot: string, unixMs: number, random: Uint8Array): ExchangeId {
  if (!isSlotName(slot)) throw new TypeError(`${JSON.stringify(slot)} cannot be a log slot`)
  return createId(`exc_${slot}`, unixMs, random)
}

/** Returns the slot whose log records the exchange; null if it is not an exchange id. */
export function slotOfExchange(value: unknown): string | null {
  if (typeof value !== 'string' || !value.startsWith('exc_')) return null
  const slot = value.slice('exc_'.length, -uuid7Length - 1)
  return isSlotName(slot) && isId(`exc_${slot}`, value) ? slot : null
}

export function isExchangeId(value: unknown): value is ExchangeId {
  return slotOfExchange(value) !== null
}

/**
 * An exchange id of an earlier version, which began with `dec_` or named no slot: refused as that,
 * with the remedy.
 */
export function isFormerExchangeId(value: unknown): boolean {
  return isId('dec', value) || isId('exc', value)
}

/**
 * Returns the time of creation that the id states, in Unix milliseconds; null if it is not an
 * exchange id.
 */
export function timeOfExchange(value: string): number | null {
  return isExchangeId(value) ? Number.parseInt(value.slice(-uuid7Length, -20), 16) : null
}

/**
 * An agent's name is one SPIFFE path segment (SPIFFE ID, section 2.2), at most 63 bytes, lower
 * case.
 */
const agentName = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/

export function isAgentName(value: unknown): value is string {
  return typeof value === 'string' && agentName.test(value)
}

/**
 * Names in entries that belong to no agent: the fabric itself, its gateway, and a receiver that
 * could not be read. A principal, route or channel of that name would pass for them in every view.
 */
const reservedNames: ReadonlySet<string> = new Set(['fabric', 'gateway', 'unknown'])

export function isReservedName(name: string): boolean {
  return reservedNames.has(name)
}

/** Reports whether a principal, route or channel may be given this name. */
export function isAssignableName(name: string): boolean {
  return isAgentName(name) && !isReservedName(name)
}

/** SPIFFE ID, section 2: lower case, no port, no user information, at most 255 bytes. */
const trustDomainName = /^[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?$/

export function isTrustDomain(value: unknown): value is string {
  return typeof value === 'string' && trustDomainName.test(value)
}

/** `spiffe://<trust domain>/<kind>/<name>`, optionally with `/<instance>` after an agent's name. */
export interface SpiffeId {
  readonly trustDomain: string
  readonly kind: 'agent' | 'user' | 'fabric'
  readonly name: string
  readonly instance: string | null
}

export function formatSpiffeId(id: SpiffeId): string {
  const base = `spiffe://${id.trustDomain}/${id.kind}/${id.name}`
  return id.instance === null ? base : `${base}/${id.instance}`
}

/** The parsed id, or null for anything that is not exactly one of ours. */
export function parseSpiffeId(text: string): SpiffeId | null {
  const match = /^spiffe:\/\/([^/]+)\/(agent|user|fabric)\/([^/]+)(?:\/([^/]+))?$/.exec(text)
  if (match === null) return null
  const [, trustDomain, kind, name, instance] = match
  if (!isTrustDomain(trustDomain) || !isAgentName(name)) return null
  if (instance !== undefined && !isAgentName(instance)) return null
  if (kind !== 'agent' && kind !== 'user' && kind !== 'fabric') return null
  return { trustDomain, kind, name, instance: instance ?? null }
}
