import { createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { openFileLedgerStore } from '../../packages/fabric/src/adapters/file/ledger-store.ts'
import { openLedger } from '../../packages/fabric/src/ledger/open-ledger.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { agedLimits, agedPolicy } from './aged-ledger.ts'
import { heldLease } from './held-lease.ts'
import { testOrigin } from './lossy-ledger.ts'
import { memoryKeys } from './memory-keys.ts'

/** Opens the log that the first argument describes, prunes it, and prints where it begins then. */
const { directory, logKey, detailKey, subjectKey, now } = JSON.parse(
  readFileSync(process.argv[2] ?? '', 'utf8'),
) as Readonly<Record<'directory' | 'logKey' | 'detailKey' | 'subjectKey', string>> & {
  readonly now: number
}
const ledger = await openLedger({
  store: await openFileLedgerStore({ directory }),
  lease: heldLease,
  origin: testOrigin,
  logKey: createPrivateKey(logKey),
  detailKey: Buffer.from(detailKey, 'base64'),
  subjectKeys: memoryKeys(Buffer.from(subjectKey, 'base64')),
  clock: { now: () => now, monotonic: () => performance.now() },
  random: systemRandom,
  limits: { ...agedLimits, pruneUnitsMax: 1 },
  retention: agedPolicy,
})
process.stdout.write(`found ${ledger.first}\n`)
while ((await ledger.pruning.prune({ exchange: null })).keptBy === 'turn') {
  process.stdout.write(`pruned ${ledger.first}\n`)
}
await ledger.check()
process.stdout.write(`sound ${ledger.first}\n`)
await ledger.close()
