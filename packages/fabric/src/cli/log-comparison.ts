import { join } from 'node:path'
import {
  CheckpointError,
  type CheckpointRelation,
  compareCheckpoints,
  ReceiptError,
  TileError,
  type Trust,
} from '@countersign/protocol'
import { readNamed } from '../lib/named-path.ts'
import type { CliContext, CommonOptions } from './context.ts'
import { DATA_FILES, findDataFolder } from './data-folder.ts'
import { Failure } from './failure.ts'
import { findLogSource } from './log-source.ts'

/** A receipt that was compared with the published checkpoint of its log. */
export interface ComparedLevel {
  readonly relation: CheckpointRelation
  /** Entries of the published checkpoint. */
  readonly size: number
}

/**
 * Compares the checkpoint of a receipt with that which a log shows, by a consistency proof. Throws
 * a Failure where the log cannot be read, or lacks what its checkpoint signs.
 */
export async function comparePublished(
  receipt: Uint8Array,
  trust: Trust,
  place: string,
  readCa: () => Uint8Array | null,
): Promise<ComparedLevel> {
  const source = findLogSource(place, readCa)
  if (source === null) throw new Failure('usage', `${place} is not the folder of a log`)
  try {
    const checkpoint = await source.readCheckpoint()
    const compared = await compareCheckpoints(receipt, checkpoint, trust, source.readTile)
    return { relation: compared.relation, size: compared.newer.size }
  } catch (error) {
    throw toCompareFailure(error)
  }
}

/** The roots that the server of a log is verified by; null for those of the system. */
export function readLogCa(
  context: CliContext,
  options: CommonOptions & { readonly ca?: string },
): Uint8Array | null {
  const { dataDir, configPath } = context.environment
  const named = options.data ?? options.config ?? dataDir ?? configPath
  if (options.ca === undefined && named === null) return null
  const ownRoot = () => join(findDataFolder(options, context.environment), DATA_FILES.root)
  return readNamed(options.ca ?? ownRoot(), caBytesMax)
}

/** Certificates of a few roots. */
const caBytesMax = 1024 * 1024

export function toCompareFailure(error: unknown): unknown {
  if (error instanceof CheckpointError) {
    return new Failure('no', `a checkpoint is not accepted: ${error.message}`)
  }
  if (error instanceof ReceiptError) {
    return new Failure('no', `a receipt does not verify: ${error.message}`, '`verify` shows why')
  }
  if (error instanceof TileError) {
    const where = error.path === '' ? '' : ` (${error.path})`
    const next = 'the comparison is undecided: read the tiles from another copy of the log'
    return new Failure(
      'no',
      `the log lacks what its checkpoint signs: ${error.message}${where}`,
      next,
    )
  }
  return error
}
