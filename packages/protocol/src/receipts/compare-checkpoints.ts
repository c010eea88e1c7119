import { equalBytes, parseUtf8 } from '../encoding/bytes.ts'
import { MalformedError } from '../encoding/malformed-error.ts'
import { type ConsistencyProof, parseTlogProof, verifyConsistency } from '../log/merkle.ts'
import { type Checkpoint, parseCheckpoint, parseNote, verifyNote } from '../log/note.ts'
import { proveConsistency, type ReadLogTile } from '../log/tile-prover.ts'
import { verifyReceipt } from './receipt.ts'
import { parseReceipt } from './receipt-document.ts'
import { isCertifiedLog, type Trust } from './trust.ts'

/** The reasons for which a checkpoint is not accepted as one of the log. */
export const CHECKPOINT_FAULTS = {
  CHECKPOINT_UNREADABLE: 'it is neither a checkpoint nor a receipt',
  CHECKPOINT_OF_OTHER_LOG: 'it is of a log that the trust does not certify, or of another log',
  CHECKPOINT_UNSIGNED: 'the key of the log did not sign it',
} as const
export type CheckpointFault = keyof typeof CHECKPOINT_FAULTS

export class CheckpointError extends Error {
  override readonly name = 'CheckpointError'
  readonly code: CheckpointFault

  constructor(code: CheckpointFault, detail = '') {
    super(detail === '' ? CHECKPOINT_FAULTS[code] : `${CHECKPOINT_FAULTS[code]}: ${detail}`)
    this.code = code
  }
}

/** A checkpoint that a certified log signed. */
export interface SignedCheckpoint extends Checkpoint {
  /** The signed note as it was read; evidence together with another one that contradicts it. */
  readonly note: string
}

/**
 * `same`: one size, one root. `grown`: the newer log begins with all entries of the older one.
 * `behind`: the newer checkpoint has fewer entries, so the log was rolled back, or the two are
 * swapped. `forked`: the log signed two histories.
 */
export type CheckpointRelation = 'same' | 'grown' | 'behind' | 'forked'

export interface CheckpointComparison {
  readonly relation: CheckpointRelation
  readonly older: SignedCheckpoint
  readonly newer: SignedCheckpoint
  /** Null where no path is needed: the sizes are equal, or the newer one is the smaller one. */
  readonly proof: ConsistencyProof | null
}

/**
 * Reads a checkpoint from a signed note, or from a receipt, which is verified first. The key that
 * the trust certifies for its origin must have signed it; lines of other keys are ignored. Throws a
 * CheckpointError, or the ReceiptError of a receipt that does not verify.
 */
export async function readSignedCheckpoint(
  bytes: Uint8Array,
  trust: Trust,
): Promise<SignedCheckpoint> {
  const note = await noteOf(bytes, trust)
  const checkpoint = reading(() => parseCheckpoint(parseNote(note).text))
  const log = trust.slots.find(({ origin }) => origin === checkpoint.origin)
  if (log === undefined || !(await isCertifiedLog(trust, log))) {
    throw new CheckpointError('CHECKPOINT_OF_OTHER_LOG', checkpoint.origin)
  }
  if (!(await verifyNote(note, log.vkey))) throw new CheckpointError('CHECKPOINT_UNSIGNED')
  return { ...checkpoint, note }
}

/**
 * Compares two checkpoints of one log, each a signed note or a receipt. Tiles of the newer one are
 * read only if it is the larger one; see `proveConsistency` for their faults. Throws as
 * `readSignedCheckpoint` does, and CHECKPOINT_OF_OTHER_LOG if they are of different logs.
 */
export async function compareCheckpoints(
  olderBytes: Uint8Array,
  newerBytes: Uint8Array,
  trust: Trust,
  readTile: ReadLogTile,
): Promise<CheckpointComparison> {
  const older = await readSignedCheckpoint(olderBytes, trust)
  const newer = await readSignedCheckpoint(newerBytes, trust)
  if (older.origin !== newer.origin) {
    throw new CheckpointError('CHECKPOINT_OF_OTHER_LOG', `${older.origin}, ${newer.origin}`)
  }
  if (older.size > newer.size) return { relation: 'behind', older, newer, proof: null }
  if (older.size === newer.size) {
    const relation = equalBytes(older.root, newer.root) ? 'same' : 'forked'
    return { relation, older, newer, proof: null }
  }
  const proof = await proveConsistency(older, newer, readTile)
  const relation = (await verifyConsistency(proof)) ? 'grown' : 'forked'
  return { relation, older, newer, proof }
}

const openingBrace = 0x7b

async function noteOf(bytes: Uint8Array, trust: Trust): Promise<string> {
  if (bytes[0] !== openingBrace) return reading(() => parseUtf8(bytes))
  await verifyReceipt(bytes, trust)
  const [entry] = parseReceipt(bytes).entries
  return reading(() => parseTlogProof(entry?.proof ?? '').checkpoint)
}

function reading<T>(parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof MalformedError) && !(error instanceof TypeError)) throw error
    throw new CheckpointError('CHECKPOINT_UNREADABLE', error.message)
  }
}
