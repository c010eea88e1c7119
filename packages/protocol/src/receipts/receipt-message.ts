import { equalBytes } from '../encoding/bytes.ts'
import { sha256 } from '../signatures/web-crypto.ts'
import type { VerifiedReceipt } from './receipt.ts'
import type { Half } from './receipt-attestation.ts'
import { CONTENT_FACTS } from './receipt-claims.ts'

/**
 * The result of comparing a message with what the receipt holds of it:
 *
 * - `same`: what the sender sent, and what the other side received
 * - `sent`: what the sender sent; the other side received a masked or rewritten form
 * - `forwarded`: what the other side received; the sender sent another form, before masking
 * - `other`: neither
 * - `withheld`: the receipt does not open what it could be compared with
 * - `streamed`: events were hashed one by one, so a whole body cannot be compared
 * - `absent`: this half of the exchange is not on record
 */
export type MessageMatch =
  | 'same'
  | 'sent'
  | 'forwarded'
  | 'other'
  | 'withheld'
  | 'streamed'
  | 'absent'

/** Compares the body of a message with the digests of a receipt that verified. */
export async function compareMessage(
  receipt: Pick<VerifiedReceipt, 'entries'>,
  half: Half,
  body: Uint8Array,
): Promise<MessageMatch> {
  const entry = half === 'request' ? receipt.entries[0] : receipt.entries.at(-1)
  if (entry === undefined) return 'absent'
  const names: readonly string[] = CONTENT_FACTS[half]
  if (entry.withheld.some((name) => names.includes(name))) return 'withheld'
  if (half === 'response' && entry.facts['transcript'] !== undefined) return 'streamed'
  const sent = entry.facts[`${half}.digest`]
  if (!(sent instanceof Uint8Array)) return 'absent'
  const forwarded = entry.facts[`${half}.forwarded-digest`] ?? sent
  const digest = await sha256(body)
  const isSent = equalBytes(sent, digest)
  const isForwarded = forwarded instanceof Uint8Array && equalBytes(forwarded, digest)
  if (isSent) return isForwarded ? 'same' : 'sent'
  return isForwarded ? 'forwarded' : 'other'
}
