import { CheckpointError, ReceiptError, TileError } from '@countersign/protocol'
import { Failure } from './failure.ts'

/** By the names of errors whose classes are of modules that the command line does not know. */
const answers: readonly string[] = ['EntriesMissing', 'BackupDamage', 'LedgerDamage']

/** States `what` did not happen, for the faults of logs and of backups; others stay as they are. */
export function toBackupFailure(what: string, error: unknown): unknown {
  if (error instanceof CheckpointError || error instanceof TileError) {
    return new Failure('no', `${what}: a checkpoint cannot be compared: ${error.message}`)
  }
  if (error instanceof ReceiptError) {
    return new Failure('no', `${what}: ${error.message}`, '`countersign verify` shows why')
  }
  if (!(error instanceof Error)) return error
  if (answers.includes(error.name)) return new Failure('no', `${what}: ${error.message}`)
  if (error.name !== 'LockHeld') return error
  const next = 'wait for the other process, or stop it; then try again'
  return new Failure('unreachable', `${what}: ${error.message}`, next)
}
