import { parseBase64Url, parseUtf8, toBase64Url, utf8 } from '../encoding/bytes.ts'
import { isAgentName } from '../encoding/ids.ts'
import { parseStrictJson } from '../encoding/strict-json.ts'
import { type ByteReader, ByteWriter, check, parsedOrNull } from './sealed-bytes.ts'
import { KEY_MESSAGE_BYTES_MAX } from './sealed-key.ts'
import { isKeyId, SEALED_BATCH_MAX, SEALED_BYTES_MAX } from './sealed-message.ts'
import { ACK_VERDICTS, type AckVerdict } from './sealed-proof.ts'

/**
 * The bodies of the queue's HTTP interface. Bulk is binary (big-endian, length-prefixed), the rest
 * JSON with exactly the named fields.
 *
 * | request                                | body                | answer                        |
 * | -------------------------------------- | ------------------- | ----------------------------- |
 * | POST /v1/channels/:name/messages       | `encodeFrames`      | `encodePublishAnswer`         |
 * | POST /v1/channels/:name/leases         | `encodeLeaseRequest`| `encodeLeases`                |
 * | POST /v1/channels/:name/settlements    | `encodeSettlement`  | `encodeSettlementAnswer`      |
 * | GET  /v1/channels/:name[?epoch=n]      |                     | `encodeSignedDescriptor`      |
 * | POST /v1/channels/:name/keys           | one key message     | `{}`                          |
 * | GET  /v1/channels/:name/keys?epoch=n   |                     | `encodeFrames`                |
 */
export const CHANNEL_FRAMES_TYPE = 'application/vnd.countersign.frames'

export const PUBLISH_MESSAGES_MAX: number = SEALED_BATCH_MAX
export const PUBLISH_BYTES_MAX: number = 8 * 1024 * 1024
export const LEASE_MESSAGES_MAX = 256
export const LEASE_MS_MIN = 1000
export const LEASE_MS_MAX: number = 12 * 60 * 60 * 1000
/** Shorter than the idle limits of common proxies. */
export const LEASE_WAIT_MS_MAX = 25_000
export const RETRY_DELAY_MS_MAX: number = 24 * 60 * 60 * 1000
/** Key messages of one epoch: one for each session of each sender, since the epoch began. */
export const KEY_LOG_MESSAGES_MAX = 4096
const reasonBytesMax = 200
const tokenPattern = /^[A-Za-z0-9_-]{1,64}$/
const groupPattern = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/
const requestBytesMax = 256 * 1024
const lineBreakless = /^[ -~]*$/

/** Each part with its length in front, as u32. */
export function encodeFrames(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(parts.reduce((sum, part) => sum + part.length + 4, 0))
  for (const part of parts) {
    writer.u32(part.length)
    writer.raw(part)
  }
  return writer.finish()
}

/** The bounds that a list of frames must keep. */
export interface FrameLimits {
  readonly countMax: number
  readonly frameBytesMax: number
  readonly bytesMax: number
}

export const PUBLISH_LIMITS: FrameLimits = {
  countMax: PUBLISH_MESSAGES_MAX,
  frameBytesMax: SEALED_BYTES_MAX,
  bytesMax: PUBLISH_BYTES_MAX,
}

export const KEY_LOG_LIMITS: FrameLimits = {
  countMax: KEY_LOG_MESSAGES_MAX,
  frameBytesMax: KEY_MESSAGE_BYTES_MAX,
  bytesMax: 64 * 1024 * 1024,
}

/** Views into `body`, or null when it is not frames within `limits`. */
export function parseFrames(body: Uint8Array, limits: FrameLimits): readonly Uint8Array[] | null {
  if (body.length > limits.bytesMax) return null
  return parsedOrNull(body, (reader) => {
    const parts: Uint8Array[] = []
    while (reader.left > 0) {
      check(parts.length < limits.countMax, 'too many frames')
      const length = reader.u32()
      check(length > 0 && length <= limits.frameBytesMax, 'frame length')
      parts.push(reader.raw(length))
    }
    return parts
  })
}

/** A leased message as it travels to its receiver. */
export interface LeasedFrame {
  readonly offset: number
  /** From 1. */
  readonly attempt: number
  /** Unix milliseconds, by the broker's clock. */
  readonly leaseUntil: number
  readonly leaseToken: string
  readonly sealed: Uint8Array
}

export function encodeLeases(leases: readonly LeasedFrame[]): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(leases.reduce((sum, { sealed }) => sum + sealed.length + 96, 16))
  for (const lease of leases) {
    writer.u64(lease.offset)
    writer.u16(lease.attempt)
    writer.u64(lease.leaseUntil)
    writer.text(lease.leaseToken)
    writer.u32(lease.sealed.length)
    writer.raw(lease.sealed)
  }
  return writer.finish()
}

export function parseLeases(body: Uint8Array): readonly LeasedFrame[] | null {
  return parsedOrNull(body, (reader) => {
    const leases: LeasedFrame[] = []
    while (reader.left > 0) {
      check(leases.length < LEASE_MESSAGES_MAX, 'too many leases')
      leases.push(readLease(reader))
    }
    return leases
  })
}

function readLease(reader: ByteReader): LeasedFrame {
  const offset = reader.u64()
  const attempt = reader.u16()
  const leaseUntil = reader.u64()
  const leaseToken = reader.text()
  const length = reader.u32()
  check(length <= SEALED_BYTES_MAX, 'message length')
  return { offset, attempt, leaseUntil, leaseToken, sealed: reader.raw(length) }
}

/** The broker's result for one message; `offset` is null when the broker does not hold it. */
export interface PublishOutcome {
  readonly state: 'stored' | 'duplicate' | 'conflict' | 'full'
  readonly offset: number | null
}

export interface PublishAnswer {
  /** The channel's present epoch, so that senders learn of a change without asking. */
  readonly epoch: number
  readonly results: readonly PublishOutcome[]
}

const publishStates = ['stored', 'duplicate', 'conflict', 'full'] as const

export function encodePublishAnswer(answer: PublishAnswer): Uint8Array {
  return json({
    epoch: answer.epoch,
    results: answer.results.map(({ state, offset }) => [state, offset]),
  })
}

export function parsePublishAnswer(body: Uint8Array): PublishAnswer | null {
  const value = exactly(parseJson(body), ['epoch', 'results'])
  if (value === null || !isWhole(value['epoch'], 1, 0xffff_ffff)) return null
  const results = listOf(value['results'], PUBLISH_MESSAGES_MAX, toPublishOutcome)
  return results === null ? null : { epoch: value['epoch'], results }
}

function toPublishOutcome(value: unknown): PublishOutcome | null {
  if (!Array.isArray(value) || value.length !== 2) return null
  const [claimed, offset]: unknown[] = value
  const state = publishStates.find((known) => known === claimed)
  if (state === undefined || (offset !== null && !isWhole(offset, 1, Number.MAX_SAFE_INTEGER)))
    return null
  return { state, offset }
}

export interface LeaseRequest {
  readonly group: string
  readonly count: number
  readonly leaseMs: number
  /** Maximum time that the broker may hold the request open while there is nothing to lease. */
  readonly waitMs: number
}

export function encodeLeaseRequest(request: LeaseRequest): Uint8Array {
  const { group, count, leaseMs, waitMs } = request
  return json({ group, count, leaseMs, waitMs })
}

export function parseLeaseRequest(body: Uint8Array): LeaseRequest | null {
  const value = exactly(parseJson(body), ['group', 'count', 'leaseMs', 'waitMs'])
  if (value === null) return null
  const { group, count, leaseMs, waitMs } = value
  if (!isGroupName(group) || !isWhole(count, 1, LEASE_MESSAGES_MAX)) return null
  if (!isWhole(leaseMs, LEASE_MS_MIN, LEASE_MS_MAX) || !isWhole(waitMs, 0, LEASE_WAIT_MS_MAX))
    return null
  return { group, count, leaseMs, waitMs }
}

export interface SettlementItem {
  readonly offset: number
  readonly leaseToken: string
  readonly verdict: AckVerdict
  readonly delayMs: number
  /** Printable ASCII; empty unless the verdict is `reject`. */
  readonly reason: string
}

/** Acknowledgements of one group, under one countersignature (`ackSignatureInput`). */
export interface Settlement {
  readonly group: string
  readonly items: readonly SettlementItem[]
  readonly signingKeyId: string
  readonly countersignature: Uint8Array
}

export function encodeSettlement(settlement: Settlement): Uint8Array {
  return json({
    group: settlement.group,
    items: settlement.items.map(({ offset, leaseToken, verdict, delayMs, reason }) => [
      offset,
      leaseToken,
      verdict,
      delayMs,
      reason,
    ]),
    signingKeyId: settlement.signingKeyId,
    countersignature: toBase64Url(settlement.countersignature),
  })
}

export function parseSettlement(body: Uint8Array): Settlement | null {
  const value = exactly(parseJson(body), ['group', 'items', 'signingKeyId', 'countersignature'])
  if (value === null) return null
  const { group, signingKeyId, countersignature } = value
  if (!isGroupName(group) || !isKeyId(signingKeyId) || typeof countersignature !== 'string')
    return null
  const signature = parseBase64Url(countersignature)
  const items = listOf(value['items'], LEASE_MESSAGES_MAX, toSettlementItem)
  if (signature?.length !== 64 || items === null || items.length === 0) return null
  return { group, items, signingKeyId, countersignature: signature }
}

function toSettlementItem(value: unknown): SettlementItem | null {
  if (!Array.isArray(value) || value.length !== 5) return null
  const [offset, leaseToken, claimed, delayMs, reason]: unknown[] = value
  if (!isWhole(offset, 1, Number.MAX_SAFE_INTEGER) || !isWhole(delayMs, 0, RETRY_DELAY_MS_MAX))
    return null
  if (typeof leaseToken !== 'string' || !tokenPattern.test(leaseToken)) return null
  if (!isVerdict(claimed) || !isReason(reason) || (claimed === 'reject') === (reason === ''))
    return null
  return { offset, leaseToken, verdict: claimed, delayMs, reason }
}

/** Of earlier versions, whose clients are refused as such. */
const formerVerdicts: readonly unknown[] = ['done', 'retry', 'dead']

/**
 * Reports whether a body that is not a settlement would be one with an earlier version's verdicts.
 */
export function hasFormerVerdicts(body: Uint8Array): boolean {
  const value = parseJson(body)
  const items = isRecord(value) ? value['items'] : null
  return (
    Array.isArray(items) &&
    items.some((item) => Array.isArray(item) && formerVerdicts.includes(item[2]))
  )
}

/** In the order of the items; false if the lease had ended and nothing changed. */
export function encodeSettlementAnswer(settled: readonly boolean[]): Uint8Array {
  return json({ settled })
}

export function parseSettlementAnswer(body: Uint8Array): readonly boolean[] | null {
  const value = exactly(parseJson(body), ['settled'])
  if (value === null) return null
  return listOf(value['settled'], LEASE_MESSAGES_MAX, (item) =>
    typeof item === 'boolean' ? item : null,
  )
}

export function isGroupName(value: unknown): value is string {
  return typeof value === 'string' && groupPattern.test(value)
}

export function isChannelName(value: unknown): value is string {
  return isAgentName(value)
}

function isVerdict(value: unknown): value is AckVerdict {
  return typeof value === 'string' && Object.hasOwn(ACK_VERDICTS, value)
}

function isReason(value: unknown): value is string {
  return typeof value === 'string' && value.length <= reasonBytesMax && lineBreakless.test(value)
}

function json(value: unknown): Uint8Array {
  return utf8(JSON.stringify(value))
}

function parseJson(body: Uint8Array): unknown {
  if (body.length > requestBytesMax) return null
  try {
    return parseStrictJson(parseUtf8(body))
  } catch {
    return null
  }
}

function exactly(
  value: unknown,
  names: readonly string[],
): Readonly<Record<string, unknown>> | null {
  if (!isRecord(value)) return null
  const own = Object.keys(value)
  return own.length === names.length && own.every((name) => names.includes(name)) ? value : null
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function listOf<T>(
  value: unknown,
  max: number,
  parse: (item: unknown) => T | null,
): readonly T[] | null {
  if (!Array.isArray(value) || value.length > max) return null
  const items: T[] = []
  for (const item of value) {
    const parsed = parse(item)
    if (parsed === null) return null
    items.push(parsed)
  }
  return items
}

function isWhole(value: unknown, min: number, max: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max
}
