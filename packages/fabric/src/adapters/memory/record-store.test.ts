import { recordStoreContract } from '../../../../../test/contracts/record-store.ts'
import { memoryRecordStore } from './record-store.ts'

recordStoreContract('memory', async (bounds) => {
  let now = 1_000
  const store = memoryRecordStore({ clock: { now: () => now }, bounds })
  return {
    store,
    wait: async (ms) => {
      now += ms
    },
    close: () => store.close(),
  }
})
