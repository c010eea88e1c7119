import {
  type CheckpointComparison,
  compareCheckpoints,
  type ReadLogTile,
  receiptBytesMax,
  toBase64,
  trustFingerprint,
} from '@countersign/protocol'
import type { Command } from 'commander'
import { readNamed } from '../../lib/named-path.ts'
import { addCommonOptions, type CliContext, type CommonOptions, outputOf } from '../context.ts'
import { Failure } from '../failure.ts'
import { readLogCa, toCompareFailure } from '../log-comparison.ts'
import { findLogSource, type LogSource } from '../log-source.ts'
import { formatCount } from '../output/quantities.ts'
import type { Terminal } from '../output/terminal.ts'
import { readTrustFile, trustPath } from './verify.ts'

interface CompareOptions extends CommonOptions {
  readonly trust?: string
  readonly tiles?: string
  readonly ca?: string
}

export function addCompareCommand(ledger: Command, context: CliContext): void {
  addCommonOptions(
    ledger
      .command('compare')
      .argument('<older>', 'a checkpoint or receipt that you kept')
      .argument('<newer>', 'a later one, or the log itself: a folder, or https://<host>/log/')
      .description('whether the log still has all that it had; ends with 1 if not')
      .option('--trust <file>', 'the pinned trust; without it that of the folder that is named')
      .option('--tiles <log>', 'the log that has the tiles, if <newer> is a file')
      .option('--ca <file>', 'the root certificate of the server that has the log'),
  ).action(async (older: string, newer: string, options: CompareOptions) => {
    const output = outputOf(context, options)
    const trust = readTrustFile(trustPath(context, options))
    const ca = () => readLogCa(context, options)
    const shown = findLogSource(newer, ca)
    const source = shown ?? tilesOf(options, ca)
    const newerBytes =
      shown === null ? readNamed(newer, receiptBytesMax) : await shown.readCheckpoint()
    const olderBytes = readNamed(older, receiptBytesMax)
    const readTile = source?.readTile ?? noTiles
    const compared = await compareCheckpoints(olderBytes, newerBytes, trust, readTile).catch(
      (error: unknown) => Promise.reject(toCompareFailure(error)),
    )
    const ok = compared.relation === 'same' || compared.relation === 'grown'
    if (!ok) context.end('no')
    const fingerprint = await trustFingerprint(trust)
    output.show({ ok, ...json(compared), trustFingerprint: fingerprint }, () =>
      formatComparison(compared, fingerprint, output.terminal),
    )
  })
}

function tilesOf({ tiles }: CompareOptions, ca: () => Uint8Array | null): LogSource | null {
  if (tiles === undefined) return null
  const source = findLogSource(tiles, ca)
  if (source === null) throw new Failure('usage', `${tiles} is not a folder`)
  return source
}

const noTiles: ReadLogTile = () => {
  const next = 'pass the log that has them: --tiles FOLDER, or --tiles https://<host>/log/'
  return Promise.reject(new Failure('usage', 'two checkpoints alone prove no growth', next))
}

function json({ relation, older, newer, proof }: CheckpointComparison) {
  const checkpoint = ({ size, root, note }: CheckpointComparison['older']) => ({
    ...{ size, root, note },
  })
  return {
    relation,
    origin: older.origin,
    older: checkpoint(older),
    newer: checkpoint(newer),
    path: proof?.path ?? null,
  }
}

function formatComparison(
  { relation, older, newer }: CheckpointComparison,
  fingerprint: string,
  { paint, facts }: Terminal,
): string {
  const entries = formatCount(older.size, 'entry', 'entries')
  const words = {
    same: `${paint('green', 'same')}: both are of ${entries}, with one root`,
    grown: `${paint('green', 'consistent')}: the log grew from ${older.size} to ${newer.size} entries, and all of the older ones are in it`,
    behind: `${paint('red', 'rolled back')}: the log had signed ${entries}, and shows ${newer.size}. Ask again after a minute, because the public checkpoint follows; then keep both as evidence`,
    forked: `${paint('red', 'NOT consistent')}: the log signed two histories. Keep both as evidence: \`--json\` prints them`,
  }
  const rows = facts([
    ['log', older.origin],
    ['older root', toBase64(older.root)],
    ['newer root', toBase64(newer.root)],
    ['trust', fingerprint],
  ])
  return `${words[relation]}\n${rows}`
}
