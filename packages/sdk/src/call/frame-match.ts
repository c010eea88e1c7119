import {
  compareTranscript,
  type Half,
  type MessageMatch,
  type VerifiedReceipt,
} from '@countersign/protocol'
import type { FrameRecord } from '../frames/frame-tally.ts'
import { AgentError } from '../lib/fault.ts'

/** The records of frames that a party kept, to be compared with a receipt. */
export interface KeptFrames {
  /** The party that kept them. Under a policy that masks, each side passed other frames. */
  readonly as: 'caller' | 'receiver'
  /** Null, or absent: not compared. */
  readonly request?: FrameRecord | null
  readonly response?: FrameRecord | null
}

type Entries = Pick<VerifiedReceipt, 'entries'>

/** The matches with which the frames of a party are those on record. */
const matching: Readonly<Record<KeptFrames['as'], Record<Half, ReadonlySet<MessageMatch>>>> = {
  caller: { request: new Set(['same', 'sent']), response: new Set(['forwarded']) },
  receiver: { request: new Set(['same', 'forwarded']), response: new Set(['forwarded']) },
}

/**
 * Throws FRAMES_MISMATCHED unless the frames on record are those that were kept: the same ones, in
 * the same order, and no others, in numbers and bytes as well. A transcript that the receipt
 * withholds does not count as equal.
 */
export function checkFrames(receipt: Entries, kept: KeptFrames): void {
  for (const half of ['request', 'response'] as const) {
    const record = kept[half] ?? null
    if (record === null) continue
    const match = compareTranscript(receipt, half, record.digest)
    const isMatch = matching[kept.as][half].has(match)
    const detail = isMatch
      ? countFault(receipt, { half, record, match })
      : describe(receipt, { half, record, match, party: kept.as })
    if (detail !== null) throw new AgentError('FRAMES_MISMATCHED', detail)
  }
}

/**
 * Returns why the counts of a record contradict those of the receipt, whose digest is its own; null
 * for a fact that is withheld as well. The bytes on record are those before masking.
 */
function countFault(
  receipt: Entries,
  { half, record, match }: Omit<Compared, 'party'>,
): string | null {
  const onRecord = framesOnRecord(receipt, half)
  if (onRecord === null) return null
  const { frames, bytes } = onRecord
  const isSized = bytes === null || match === 'forwarded' || bytes === record.bytes
  if (frames === record.frames && isSized) return null
  const there = bytes === null ? `${frames}` : `${frames} of ${bytes} bytes`
  const here = `${record.frames} of ${record.bytes} bytes`
  return `the digest of the ${half} is on record, and not its counts: ${there}, ${here} here`
}

interface Compared {
  readonly half: Half
  readonly record: FrameRecord
  readonly match: MessageMatch
  readonly party: KeptFrames['as']
}

function describe(receipt: Entries, { half, record, match, party }: Compared): string {
  if (match === 'withheld') return `the receipt withholds the transcript of the ${half}`
  if (match === 'absent') return `no transcript of the ${half} is on record`
  if (match !== 'other') return `the frames of the ${half} are those of the other party`
  if (party === 'receiver' && half === 'response' && isMasked(receipt)) return maskedResponse
  const onRecord = framesOnRecord(receipt, half)
  const here = `${record.frames} of ${record.bytes} bytes here`
  if (onRecord === null) return `the ${half} has other frames on record: ${here}`
  const { frames, bytes } = onRecord
  const there = bytes === null ? `${frames}` : `${frames} of ${bytes} bytes`
  const why =
    frames === record.frames
      ? 'one was changed or moved'
      : frames < record.frames
        ? 'some are missing on record'
        : 'some are missing here'
  const cut = bytes === record.bytes && frames !== record.frames ? cutElsewhere : ''
  return `frames of the ${half}: ${there} on record, ${here}: ${why}${cut}`
}

/** Of a response, the outcome commits to the form alone in which its caller received it. */
const maskedResponse =
  'the response on record is the masked one, as its caller received it, and not the one sent'

function isMasked({ entries }: Entries): boolean {
  return (entries.at(-1)?.facts['response.masked'] ?? '') !== ''
}

/** The bytes are as many, and only their boundaries differ. */
const cutElsewhere = '; the route may cut blocks of another size (`streams.frameBytes`)'

/** The number of frames on record, and their bytes where they are known. */
export function framesOnRecord(
  receipt: Entries,
  half: Half,
): { readonly frames: number; readonly bytes: number | null } | null {
  const facts = receipt.entries.at(-1)?.facts ?? {}
  const frames = half === 'request' ? facts['request.frames'] : facts['events']
  const bytes = half === 'request' ? facts['request.bytes'] : null
  if (typeof frames !== 'number') return null
  return { frames, bytes: typeof bytes === 'number' ? bytes : null }
}
