import { join } from 'node:path'
import { expect } from 'vitest'
import { openSqliteLeaseStore } from '../../packages/fabric/src/adapters/sqlite/lease-store.ts'
import { pausedLeaseMs, pausedReplica } from '../contracts/paused-replica.ts'
import { openReplicas } from '../harness/replicas.ts'

pausedReplica('one data folder with SQLite', async () => {
  const config = { ledger: { leaseMs: pausedLeaseMs } }
  const replicas = await openReplicas({ folders: ['data', 'data'], config })
  const data = join(replicas.dir, 'data')
  return {
    ...replicas,
    logOfTwo: join(data, 'ledger', 'b'),
    async takeSlot(name) {
      const leases = await openSqliteLeaseStore(join(data, 'leases.db'))
      const request = { name, leaseMs: 60_000, note: '', isFormerEnded: false }
      await expect.poll(() => leases.take(request)).not.toBe(null)
      await leases.close()
    },
  }
})
