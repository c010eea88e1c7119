import { setTimeout as sleep } from 'node:timers/promises'
import {
  type ExchangeId,
  equalBytes,
  type FactValue,
  isExchangeId,
  isFormerExchangeId,
  parseSpiffeId,
  ReceiptError,
  type Trust,
  type VerifiedReceipt,
  verifyReceipt,
} from '@countersign/protocol'
import { askHolder } from '../connection/at-holder.ts'
import { readAll } from '../connection/body.ts'
import { headerReader } from '../connection/control.ts'
import type { FabricConnection } from '../connection/fabric-connection.ts'
import { findRefusal } from '../connection/refused.ts'
import type { FrameTally } from '../frames/frame-tally.ts'
import type { OutgoingFrames } from '../frames/outgoing-frames.ts'
import type { Identity } from '../identity/identity.ts'
import { rawPublicKey } from '../identity/keys.ts'
import { parseJson, parseTrustDocument } from '../identity/trust.ts'
import { AgentError } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'
import type { Exchange } from './exchange.ts'
import { checkFrames, framesOnRecord, type KeptFrames } from './frame-match.ts'

/** A verified receipt, with its bytes, so that others can verify them as well. */
export interface Receipt extends VerifiedReceipt {
  readonly bytes: Uint8Array
}

/**
 * Verifies a receipt offline. Throws RECEIPT_REJECTED, whose `cause` is the ReceiptError that names
 * what failed; a changed bit anywhere is a failure. With `frames`, it also throws FRAMES_MISMATCHED
 * unless the frames on record are exactly those that were kept.
 */
export async function verify(
  bytes: Uint8Array,
  trust: Trust,
  frames?: KeptFrames,
): Promise<Receipt> {
  const receipt = await verifyAlone(bytes, trust)
  if (frames !== undefined) checkFrames(receipt, frames)
  return receipt
}

async function verifyAlone(bytes: Uint8Array, trust: Trust): Promise<Receipt> {
  try {
    return { ...(await verifyReceipt(bytes, trust)), bytes }
  } catch (cause) {
    if (!(cause instanceof ReceiptError)) throw cause
    const detail = [cause.code, cause.message, cause.detail]
      .filter((part) => part !== '')
      .join(': ')
    throw new AgentError('RECEIPT_REJECTED', detail, { cause })
  }
}

const pauseMsFirst = 25
const pauseMsMax = 1_000

export interface ReceiptOptions {
  /**
   * Accepts a receipt of the first frames of a streamed request alone: of one that was ended, or
   * answered, before its own end.
   */
  readonly part?: boolean
}

/** The agent that asks for a receipt. */
export type ReceiptReader = Pick<Identity, 'connection' | 'connectionTo' | 'trust'>

/**
 * Fetches and verifies; waits while the fabric has not closed the exchange, at most `waitMs`.
 * Throws RECEIPT_PENDING when it is still open then; the refusal EXCHANGE_UNKNOWN when none of that
 * id is on record, EXCHANGE_ELSEWHERE when no process holds its log now, and NOT_PERMITTED when
 * this agent may not know.
 */
export async function fetchReceipt(
  identity: ReceiptReader,
  exchange: string,
  waitMs: number = LIMITS.receiptWaitMsMax,
): Promise<Receipt> {
  if (!isExchangeId(exchange)) {
    const detail = isFormerExchangeId(exchange)
      ? 'the id is of an earlier version, whose fabric has its receipt'
      : 'that is not the id of an exchange'
    throw new AgentError('REQUEST_MALFORMED', detail)
  }
  const signal = AbortSignal.timeout(waitMs)
  const bytes = await askHolder(identity, (connection) =>
    receiptBytes(connection, { exchange, signal }),
  )
  // By the keys of the log that the id names, whichever replica answered.
  const receipt = await verifyOfFabric(bytes, identity)
  if (receipt.exchange !== exchange) throw mismatch('it is about another exchange')
  return receipt
}

async function receiptBytes(
  connection: FabricConnection,
  { exchange, signal }: { readonly exchange: ExchangeId; readonly signal: AbortSignal },
): Promise<Uint8Array> {
  for (let pauseMs = pauseMsFirst; ; pauseMs = Math.min(pauseMs * 2, pauseMsMax)) {
    const bytes = await findReceiptBytes(connection, exchange)
    if (bytes !== null) return bytes
    if (signal.aborted) throw new AgentError('RECEIPT_PENDING', exchange)
    await sleep(pauseMs)
  }
}

/** The logs that a fabric has added since the agent was enrolled. */
const newerTrust = new WeakMap<ReceiptReader, Trust>()

/**
 * As `verify`. For a log that the agent does not know, the fabric is asked for its logs. Those that
 * the pinned key certifies are as good as the first ones; no other key is taken from the answer.
 */
async function verifyOfFabric(bytes: Uint8Array, identity: ReceiptReader): Promise<Receipt> {
  try {
    return await verifyAlone(bytes, newerTrust.get(identity) ?? identity.trust)
  } catch (error) {
    const cause = error instanceof AgentError ? error.cause : null
    if (!(cause instanceof ReceiptError) || cause.code !== 'ORIGIN_UNTRUSTED') throw error
    const trust = { ...identity.trust, slots: await readSlots(identity) }
    const receipt = await verifyAlone(bytes, trust)
    newerTrust.set(identity, trust)
    return receipt
  }
}

async function readSlots({ connection }: ReceiptReader): Promise<Trust['slots']> {
  const response = await connection.request({
    ...{ method: 'GET', path: '/v1/trust', headers: [], body: new Uint8Array(0) },
    repeatable: true,
  })
  const bytes = await readAll(response.body, LIMITS.controlBytesMax, 'ANSWER_TOO_LARGE')
  if (response.status !== 200) {
    throw new AgentError('ANSWER_MALFORMED', `status ${response.status}`)
  }
  return parseTrustDocument(parseJson(bytes)).slots
}

async function findReceiptBytes(
  connection: FabricConnection,
  exchange: ExchangeId,
): Promise<Uint8Array | null> {
  const response = await connection.request({
    method: 'GET',
    path: `/v1/receipts/${exchange}`,
    headers: [],
    body: new Uint8Array(0),
    repeatable: true,
  })
  const bytes = await readAll(response.body, LIMITS.receiptBytesMax, 'ANSWER_TOO_LARGE')
  if (response.status === 200) return bytes
  const refusal = findRefusal(response.status, headerReader(response.headers))
  if (refusal?.code === 'EXCHANGE_OPEN') return null
  throw refusal ?? new AgentError('ANSWER_MALFORMED', `status ${response.status}`)
}

/**
 * Throws RECEIPT_MISMATCHED unless the verified `receipt` is about what this caller sent and
 * received. A fact that the receipt withholds cannot be compared, and does not count as equal.
 */
export function checkAbout(
  receipt: Receipt,
  exchange: Exchange,
  identity: Identity,
  { part = false }: ReceiptOptions = {},
): void {
  const [opening] = receipt.entries
  const closing = receipt.entries.at(-1)
  if (opening === undefined || closing === undefined) throw mismatch('it has no entries')
  if (receipt.caller !== identity.spiffeId) throw mismatch('its caller is another agent')
  if (receiverName(receipt.receiver) !== exchange.receiver)
    throw mismatch('its receiver is another')
  const { sent, sentFrames } = exchange
  // First: it states more of what differs.
  if (sentFrames !== null) checkSentFrames(receipt, sentFrames, part)
  const digest = sentFrames === null ? sent.digest : sentFrames.firstDigest
  if (digest === null) throw mismatch('it is about a stream')
  checkBytes(opening.facts, 'request.digest', digest)
  if (exchange.sent.signature !== null) {
    checkBytes(opening.facts, 'request.signature', exchange.sent.signature)
    const ours = rawPublicKey(identity.signing.privateKey)
    const key = receipt.request.signature?.publicKey
    if (key === undefined || !equalBytes(key, ours)) throw mismatch('its caller has another key')
  }
  if (closing.kind !== 'outcome') throw mismatch('it ends without an outcome')
  if (closing.facts['status'] !== exchange.status) throw mismatch('its status is another')
  checkBody(receipt, exchange)
}

/**
 * The fabric stops reading a request whose exchange has ended: by a rule, or because the receiver
 * answered before its end. The receipt is then of the first frames, which are all that passed.
 */
function checkSentFrames(
  receipt: Receipt,
  { tally, format }: OutgoingFrames,
  isPartAccepted: boolean,
): void {
  const codec = receipt.entries[0]?.facts['request.streamed']
  if (codec !== format.name) throw mismatch('it is about another kind of request')
  const sent = tally.record()
  const passed = framesOnRecord(receipt, 'request')?.frames ?? sent.frames
  const first = passed < sent.frames ? tally.recordOfFirst(passed) : null
  if (first === null) return checkFrames(receipt, { as: 'caller', request: sent })
  checkFrames(receipt, { as: 'caller', request: first })
  if (isPartAccepted) return
  const detail = `the first ${passed} of ${sent.frames} frames of the request passed, and no others`
  throw new AgentError('FRAMES_MISMATCHED', detail)
}

function checkBody(receipt: Receipt, { proof: proofOf, isEventStream }: Exchange): void {
  const facts = receipt.entries.at(-1)?.facts ?? {}
  const { isFinished, digest, frames } = proofOf()
  if (!isFinished) return
  const isStream = facts['transcript'] !== undefined
  if (!isEventStream && !isStream) return checkBytes(facts, 'response.forwarded-digest', digest)
  if (frames === null) throw mismatch('its response is a stream')
  if (isEventStream) return checkEvents(facts, frames)
  checkFrames(receipt, { as: 'caller', response: frames.record() })
}

function checkEvents(facts: Readonly<Record<string, FactValue>>, tally: FrameTally): void {
  const isCut = facts['result'] === 'cut' || facts['result'] === 'broken'
  const transcript = facts['transcript']
  const { frames } = tally.record()
  const isSame = (count: number): boolean => {
    const first = tally.recordOfFirst(count)
    if (first === null || (facts['events'] ?? count) !== count) return false
    return transcript instanceof Uint8Array && equalBytes(transcript, first.digest)
  }
  if (isSame(frames)) return
  if (isCut && (isSame(frames - 1) || isSame(frames - 2))) return
  throw mismatch('its transcript is of other events')
}

function checkBytes(
  facts: Readonly<Record<string, FactValue>>,
  name: string,
  expected: Uint8Array,
): void {
  const value = facts[name]
  if (value instanceof Uint8Array && equalBytes(value, expected)) return
  throw mismatch(value === undefined ? `it withholds ${name}` : `${name} is another`)
}

/** The ledger names a receiver by its name or by its SPIFFE ID. */
function receiverName(receiver: string | null): string | null {
  return receiver === null ? null : (parseSpiffeId(receiver)?.name ?? receiver)
}

function mismatch(detail: string): AgentError {
  return new AgentError('RECEIPT_MISMATCHED', detail)
}
