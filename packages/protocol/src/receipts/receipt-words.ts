import { isRefusalCode, REFUSALS } from '../control/refusals.ts'
import type { Ending, ExchangeResult } from '../log/receipt-ending.ts'
import type { VerifiedReceipt } from './receipt.ts'
import type { Attestation, Half } from './receipt-attestation.ts'
import type { ReceiptLevel } from './receipt-document.ts'
import type { MessageMatch } from './receipt-message.ts'
import type { Source } from './receipt-sources.ts'

/**
 * Descriptions, for people, of how an exchange ended: what the caller received, and whether the
 * receiver acted.
 */
const endings: Readonly<Record<ExchangeResult, string>> = {
  delivered: 'delivered: the response was handed to the caller',
  completed: 'completed: the stream was handed to the caller to its end',
  refused: 'refused: the receiver did not get it, or a rule stopped it',
  cut: 'cut: a rule ended the stream',
  abandoned: 'abandoned: the caller left the stream',
  withheld: 'withheld: the receiver acted, and its response was not handed over',
  broken: 'broken: the response broke off',
  unknown: 'unknown: the receiver may have acted',
  unobserved: 'unobserved: permitted and handed over to a proxy, which delivers unseen',
  stated: 'stated: the receiver states that it refused, without proof, and it may have acted',
}

const levels: Readonly<Record<ReceiptLevel, string>> = {
  synced: 'synced, as the receipt states without proof: its checkpoint was not public yet',
  published:
    'published, as the receipt states without proof: its checkpoint is one that every reader can see',
}

/** Describes how far the checkpoint of a receipt had come. */
export function describeLevel(level: ReceiptLevel): string {
  return levels[level]
}

const perhaps =
  '; only the end of a connection ended it, so that a part of the response may be missing'

type EndingContext = Partial<Pick<VerifiedReceipt, 'responseEnd' | 'isStatedUnsent'>>

/** The first line of every report on a receipt; of an entry, without the context. */
export function describeEnding(
  { result, code }: Ending,
  { responseEnd = null, isStatedUnsent = false }: EndingContext = {},
): string {
  if (code === null) return responseEnd === null ? endings[result] : `${endings[result]}${perhaps}`
  const says = isRefusalCode(code) ? `${code}, ${REFUSALS[code].says}` : code
  if (isStatedUnsent) return `refused: ${says}; it left, and its receiver alone states otherwise`
  return result === 'refused' ? `refused: ${says}` : `${endings[result]} (${says})`
}

/**
 * Describes the party that attests one half of the exchange. A connector is named, and never called
 * the fabric.
 */
export function describeAttestation({ by, producer }: Attestation, half: Half): string {
  const party = half === 'request' ? 'caller' : 'receiver'
  const word = producer === null ? '' : `, as recorded by the connector of ${producer}`
  switch (by) {
    case 'caller':
    case 'callee':
      return `signed by the ${party}, with its own key${word}`
    case 'fabric':
      return `attested by the fabric alone, not signed by the ${party}`
    case 'connector':
      return `attested only by the connector of ${producer ?? 'an agent'}, not signed by the ${party}`
    case null:
      return 'not on record'
  }
}

/** Describes the party that recorded how the exchange ended. */
export function describeRecorder({ entries }: Pick<VerifiedReceipt, 'entries'>): string {
  const { producer = null, stated = null } = entries.at(-1) ?? {}
  if (producer === null) return 'the fabric'
  const key = stated === null ? '' : `, which signed it with the key ${stated.keyId}`
  return `the connector of ${producer}${key}`
}

/** On whose word a fact stands. */
export function describeSource(source: Source): string {
  switch (source.by) {
    case 'caller':
      return 'signed by the caller'
    case 'callee':
      return 'signed by the receiver'
    case 'fabric':
      return 'according to the fabric'
    case 'connector':
      return `according to the connector of ${source.producer}`
  }
}

/**
 * Describes as signed only what a party signed; the form that the other side received is unsigned.
 */
export function describeMatch(match: MessageMatch, half: Half, attestation: Attestation): string {
  const [from, to] = half === 'request' ? ['caller', 'receiver'] : ['receiver', 'caller']
  const { signature, by, producer } = attestation
  const recorder = producer === null ? 'the fabric' : `the connector of ${producer}`
  const isSigned = signature !== null && (by === 'caller' || by === 'callee')
  const sent = isSigned
    ? `the ${from} signed this`
    : `the ${from} sent this, according to ${recorder}`
  const verb = isSigned ? 'signed' : 'sent'
  const words: Readonly<Record<MessageMatch, string>> = {
    same: `match: ${sent}; the ${to} received it${isSigned ? `, according to ${recorder}` : ''}`,
    sent: `match: ${sent}; according to ${recorder}, the ${to} received a masked or rewritten form of it`,
    forwarded: `match: according to ${recorder}, the ${to} received this, masked or rewritten; the ${from} ${verb} something else`,
    other: `mismatch: this is not the ${half} on record`,
    withheld: 'cannot be compared: the receipt withholds its digest',
    streamed: 'cannot be compared: the response was a stream, which is hashed event by event',
    absent: `cannot be compared: no ${half} is on record`,
  }
  return words[match]
}

export function isMatch(match: MessageMatch): boolean {
  return match === 'same' || match === 'sent' || match === 'forwarded'
}
