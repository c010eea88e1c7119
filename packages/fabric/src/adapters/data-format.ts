import { UnusableFile } from '../lib/named-path.ts'

/**
 * Format of what a data folder keeps: state, channels and ledger. From 2 on, ids of exchanges begin
 * with `exc_` and verdicts of channels are ack, nack and reject. From 3 on, the state has a
 * revision and a history, and ids of exchanges name a log slot, each of which has a folder. From 4
 * on, entries of the ledger are leaves of ledger format 2, without signatures of their own. Nothing
 * converts a folder: the checkpoint covers the entries of its ledger as they are.
 */
export const dataFormat = 4

const remedies = {
  older: 'start with a new folder (--data), and keep this one for the version that wrote it',
  newer: 'start the version that wrote it',
} as const

/** For a file of another format, which is not touched. Message and remedy are one sentence. */
export function otherFormat(what: string, found: number): UnusableFile {
  const remedy = remedies[found < dataFormat ? 'older' : 'newer']
  return new UnusableFile(
    `${what} has format ${found}, and this version uses format ${dataFormat}: ${remedy}`,
  )
}
