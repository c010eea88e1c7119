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
import type { Identity } from '../identity/identity.ts'
import { rawPublicKey } from '../identity/keys.ts'
import { parseJson, parseTrustDocument } from '../identity/trust.ts'
import { AgentError } from '../lib/fault.ts'
import { LIMITS } from '../lib/limits.ts'
import type { BodyProof, Exchange } from './exchange.ts'

/** A verified receipt, with its bytes, so that others can verify them as well. */
export interface Receipt extends VerifiedReceipt {
  readonly bytes: Uint8Array
}

/**
 * Verifies a receipt offline. Throws RECEIPT_REJECTED, whose `cause` is the ReceiptError that names
 * what failed; a changed bit anywhere is a failure.
 */
export async function verify(bytes: Uint8Array, trust: Trust): Promise<Receipt> {
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
    return await verify(bytes, newerTrust.get(identity) ?? identity.trust)
  } catch (error) {
    const cause = error instanceof AgentError ? error.cause : null
    if (!(cause instanceof ReceiptError) || cause.code !== 'ORIGIN_UNTRUSTED') throw error
    const trust = { ...identity.trust, slots: await readSlots(identity) }
    const receipt = await verify(bytes, trust)
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
export function checkAbout(receipt: Receipt, exchange: Exchange, identity: Identity): void {
  const [opening] = receipt.entries
  const closing = receipt.entries.at(-1)
  if (opening === undefined || closing === undefined) throw mismatch('it has no entries')
  if (receipt.caller !== identity.spiffeId) throw mismatch('its caller is another agent')
  if (receiverName(receipt.receiver) !== exchange.receiver)
    throw mismatch('its receiver is another')
  checkBytes(opening.facts, 'request.digest', exchange.sent.digest)
  if (exchange.sent.signature !== null) {
    checkBytes(opening.facts, 'request.signature', exchange.sent.signature)
    const ours = rawPublicKey(identity.signing.privateKey)
    const key = receipt.request.signature?.publicKey
    if (key === undefined || !equalBytes(key, ours)) throw mismatch('its caller has another key')
  }
  if (closing.kind !== 'outcome') throw mismatch('it ends without an outcome')
  if (closing.facts['status'] !== exchange.status) throw mismatch('its status is another')
  checkBody(closing.facts, exchange.proof())
}

function checkBody(facts: Readonly<Record<string, FactValue>>, proof: BodyProof): void {
  if (proof.kind === 'whole') checkBytes(facts, 'response.forwarded-digest', proof.digest)
  if (proof.kind !== 'events') return
  const isCut = facts['result'] === 'cut' || facts['result'] === 'broken'
  const transcript = facts['transcript']
  const isSame = (digest: Uint8Array): boolean =>
    transcript instanceof Uint8Array && equalBytes(transcript, digest)
  if (isSame(proof.whole)) return
  if (isCut && (isSame(proof.beforeLast) || isSame(proof.beforeLastTwo))) return
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
