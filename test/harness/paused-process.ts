import { createHash, createPrivateKey } from 'node:crypto'
import { createExchangeId, toHex } from '@countersign/protocol'
import { openFileLedgerStore } from '../../packages/fabric/src/adapters/file/ledger-store.ts'
import { openSqliteLeaseStore } from '../../packages/fabric/src/adapters/sqlite/lease-store.ts'
import { openLedger } from '../../packages/fabric/src/ledger/open-ledger.ts'
import { writeReplacedKeys } from '../../packages/fabric/src/ledger/replaced-keys.ts'
import { systemClock } from '../../packages/fabric/src/lib/clock.ts'
import { systemRandom } from '../../packages/fabric/src/lib/random.ts'
import { takeLease } from '../../packages/fabric/src/state/lease.ts'
import { memoryKeys } from '../../tools/crash/memory-keys.ts'

/**
 * A process that appends to the log of a slot, stops itself (SIGSTOP) at a point that its arguments
 * name, and goes on when it is continued. Prints what it signed and acknowledged, and why it ended.
 */
const [leasesFile = '', folder = '', leaseMs = '', pauseAt = ''] = process.argv.slice(2)
const say = (line: string): void => void process.stdout.write(`${line}\n`)

/** Returns after the process was continued: the clock shows that it was away. */
function pause(): void {
  say('pausing')
  const before = systemClock.monotonic()
  process.kill(process.pid, 'SIGSTOP')
  while (systemClock.monotonic() - before < Number(leaseMs)) {
    // The signal stops the process at any instruction from here on.
  }
  say('continued')
}

const leases = await openSqliteLeaseStore(leasesFile)
const lease = await takeLease({
  ...{ store: leases, name: 'a', leaseMs: Number(leaseMs), note: '' },
  ...{ isFormerEnded: false, clock: systemClock },
})
if (lease === null) throw new Error('the slot is free')
lease.start()
const store = await openFileLedgerStore({ directory: folder })
const seed = createHash('sha256').update('paused').digest()
const prefix = Buffer.from('302e020100300506032b657004220420', 'hex')
const key = createPrivateKey({ key: Buffer.concat([prefix, seed]), format: 'der', type: 'pkcs8' })
let isPauseDue = false
const ledger = await openLedger({
  ...{ lease, clock: systemClock, random: systemRandom, logKey: key, detailKey: seed },
  subjectKeys: memoryKeys(writeReplacedKeys([{ generation: 1, key: seed }])),
  origin: 'paused.test/ledger/a',
  store: {
    ...store,
    async commit(commit) {
      say(`signed ${commit.head.size}`)
      await store.commit(commit)
      if (isPauseDue && pauseAt === 'durable') pause()
    },
  },
  onFatal(cause) {
    say(`fatal ${String(cause)}`)
    process.exit(7)
  },
})
for (let at = 0; at < 6; at++) {
  isPauseDue = at === 5
  if (isPauseDue && pauseAt === 'idle') pause()
  const exchange = createExchangeId('a', systemClock.now(), systemRandom(10))
  const draft = { kind: 'refusal', exchange, at: systemClock.now(), facts: { at } } as const
  const { index, leafHash } = await ledger.append(draft)
  say(`acknowledged ${index} ${toHex(leafHash)}`)
}
say('done')
