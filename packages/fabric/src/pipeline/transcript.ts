import { createHash } from 'node:crypto'
import { TranscriptHash } from '@countersign/protocol'

/** The transcript of one direction, without a frame yet. */
export const openTranscript = (): TranscriptHash => new TranscriptHash(createHash('sha256'))
