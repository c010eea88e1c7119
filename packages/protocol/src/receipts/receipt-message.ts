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
  // Its digests are of the first frame.
  if (half === 'request' && entry.facts['request.streamed'] !== undefined) return 'streamed'
  const sent = entry.facts[`${half}.digest`]
  if (!(sent instanceof Uint8Array)) return 'absent'
  const forwarded = entry.facts[`${half}.forwarded-digest`] ?? sent
  const digest = await sha256(body)
  const isSent = equalBytes(sent, digest)
  const isForwarded = forwarded instanceof Uint8Array && equalBytes(forwarded, digest)
  if (isSent) return isForwarded ? 'same' : 'sent'
  return isForwarded ? 'forwarded' : 'other'
}

/**
 * Compares the frames of a streamed message with the transcript in a receipt that verified: lines
 * without their ends, messages of gRPC without their prefix, the data of events. A frame that was
 * changed, dropped, moved or joined with another gives `other`. Holds all frames at once.
 */
export async function compareFrames(
  receipt: Pick<VerifiedReceipt, 'entries'>,
  half: Half,
  frames: readonly Uint8Array[],
): Promise<Exclude<MessageMatch, 'streamed'>> {
  return compareTranscript(receipt, half, await sha256(transcriptBytes(frames)))
}

/** As `compareFrames`, by the digest of a `TranscriptHash` that the party kept of its frames. */
export function compareTranscript(
  receipt: Pick<VerifiedReceipt, 'entries'>,
  half: Half,
  digest: Uint8Array,
): Exclude<MessageMatch, 'streamed'> {
  const closing = receipt.entries.at(-1)
  if (closing === undefined) return 'absent'
  const names =
    half === 'request'
      ? (['request.transcript', 'request.forwarded-transcript'] as const)
      : (['transcript'] as const)
  if (closing.withheld.some((name) => names.some((known) => known === name))) return 'withheld'
  const [sent, forwarded = sent] = names.map((name) => closing.facts[name])
  if (!(sent instanceof Uint8Array) || !(forwarded instanceof Uint8Array)) return 'absent'
  const isForwarded = equalBytes(forwarded, digest)
  // The outcome commits to the events of a response as they were forwarded, and to no other form.
  if (half === 'response') return isForwarded ? 'forwarded' : 'other'
  if (equalBytes(sent, digest)) return isForwarded ? 'same' : 'sent'
  return isForwarded ? 'forwarded' : 'other'
}

/** `u32 length ‖ data` of each frame, of which a transcript is the digest. */
function transcriptBytes(frames: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(frames.reduce((length, frame) => length + 4 + frame.length, 0))
  const view = new DataView(bytes.buffer)
  let at = 0
  for (const frame of frames) {
    view.setUint32(at, frame.length)
    bytes.set(frame, at + 4)
    at += 4 + frame.length
  }
  return bytes
}
