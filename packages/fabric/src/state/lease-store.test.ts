import { leaseStoreContract } from '../../../../test/contracts/lease-store.ts'
import { type LeaseMemory, memoryLeaseStore } from '../../../../test/harness/memory-leases.ts'

leaseStoreContract('memory', async () => {
  let now = 1_000
  const leases: LeaseMemory = new Map()
  return {
    open: async () => memoryLeaseStore({ monotonic: () => now }, leases),
    advance(ms) {
      now += ms
    },
  }
})
